package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/session"
)

// ringFlags say how to read ticket keys where they are kept.
type ringFlags struct {
	TicketsKey      string        `name:"tickets-key" placeholder:"FILE" help:"The key, in hexadecimal, that the ticket keys are sealed under where they are kept. Make one with \"handoff tickets --new-key FILE\"."`
	TicketsInterval time.Duration `name:"tickets-interval" default:"12h" help:"How long a ticket key is used before the next one (default: ${default}). It must be the same for all servers."`
}

// ticketFlags are a server's.
type ticketFlags struct {
	Tickets     string `default:"memory" placeholder:"WHERE" env:"HANDOFF_TICKETS" help:"Where the keys of session tickets are: memory, file:PATH, redis://HOST:PORT or etcd://HOST:PORT (default: ${default})."`
	TicketsZone string `name:"tickets-zone" placeholder:"NAME" help:"Where tickets are good: those of servers with another zone are not taken, though they have the same keys."`
	EarlyData   uint32 `name:"early-data" placeholder:"BYTES" help:"Accept so much early data (0-RTT) on each connection: clients that come back have their first answer a round trip earlier."`
	ringFlags
}

const ticketsInMemory = "memory"

// minTicketsInterval leaves every server the time to hear of the next key.
const minTicketsInterval = 10 * time.Second

// Validate refuses flags that do not fit together. It is called by the parser.
func (f ticketFlags) Validate() error {
	if f.Tickets == ticketsInMemory {
		if f.TicketsKey != "" {
			return errors.New("--tickets-key is for keys that are kept somewhere: give --tickets too")
		}
		return f.validateInterval()
	}
	return f.validate("--tickets ", f.Tickets)
}

// validate refuses what no ring can be made of. The name, if any, is the flag's
// and a space.
func (f ringFlags) validate(name, where string) error {
	scheme, rest, ok := strings.Cut(where, ":")
	switch {
	case !ok || sources[scheme] == nil || rest == "":
		return fmt.Errorf("%s%q is none of %s", name, placeName(where), placeNames)
	case f.TicketsKey == "":
		return fmt.Errorf("%s%s needs --tickets-key FILE: where ticket keys are kept, they are sealed", name, placeName(where))
	}
	return f.validateInterval()
}

// placeName is where as errors may show it: a URL may hold a password.
func placeName(where string) string {
	scheme, _, ok := strings.Cut(where, ":")
	if !ok || scheme == "file" {
		return where
	}
	return scheme + ":..."
}

func (f ringFlags) validateInterval() error {
	if f.TicketsInterval < minTicketsInterval {
		return fmt.Errorf("--tickets-interval %v is less than %v", f.TicketsInterval, minTicketsInterval)
	}
	return nil
}

// ring returns the ticket keys that are kept there. The caller closes the source.
func (f ringFlags) ring(where string) (*session.KeyRing, source, error) {
	kek, err := readKey(f.TicketsKey)
	if err != nil {
		return nil, nil, err
	}
	scheme, _, _ := strings.Cut(where, ":")
	src, err := sources[scheme](where)
	if err != nil {
		return nil, nil, err
	}
	return &session.KeyRing{Source: src, KEK: kek, Interval: f.TicketsInterval}, src, nil
}

// ticketsTimeout bounds how long a command waits for what keeps the keys.
const ticketsTimeout = 5 * time.Second

// use gives a server the ticket keys of the flags, until the source is closed.
// What goes wrong with them is no reason not to serve, but the user is told.
func (f ticketFlags) use(ctx context.Context, config *tls.Config, w io.Writer) (io.Closer, error) {
	config.MaxEarlyData = f.EarlyData
	if f.Tickets == ticketsInMemory {
		config.TicketKeys = &session.KeyRing{Interval: f.TicketsInterval, Zone: f.TicketsZone}
		config.AntiReplay = session.NewAntiReplay(0)
		return unclosed{}, nil
	}
	ring, src, err := f.ring(f.Tickets)
	if err != nil {
		return nil, err
	}
	ring.Zone = f.TicketsZone
	told := newsOf(w)
	ring.OnError = func(err error) { told.tell(fmt.Sprintf("ticket keys: %v; going on with those in use", err)) }
	config.TicketKeys = ring
	if f.EarlyData > 0 {
		if config.AntiReplay, err = src.antiReplay(); err != nil {
			return nil, errors.Join(err, src.Close())
		}
		seen := newsOf(w)
		config.AntiReplay.OnError = func(err error) { seen.tell(fmt.Sprintf("early data: %v; not accepted meanwhile", err)) }
	}
	ctx, cancel := context.WithTimeout(ctx, ticketsTimeout)
	defer cancel()
	if ring.Refresh(ctx) == nil {
		fmt.Fprintf(w, "ticket keys: in %v\n", src)
	}
	return src, nil
}

// news tells the same thing once in a while only.
type news struct {
	w io.Writer

	mu   sync.Mutex
	last string
	when time.Time
}

// newsPause is how long what was told is not told again.
const newsPause = 10 * time.Minute

func newsOf(w io.Writer) *news { return &news{w: w} }

func (n *news) tell(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text == n.last && time.Since(n.when) < newsPause {
		return
	}
	n.last, n.when = text, time.Now()
	fmt.Fprintln(n.w, printable(text))
}

// readKey reads a key from a file that is its owner's only.
func readKey(name string) (key [32]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return key, err
	}
	defer f.Close()
	if err := checkPrivateKey(f); err != nil {
		return key, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	defer clear(text)
	if err != nil {
		return key, err
	}
	digits := bytes.TrimSpace(text)
	if len(digits) == hex.EncodedLen(len(key)) {
		if _, err := hex.Decode(key[:], digits); err == nil {
			return key, nil
		}
	}
	return [32]byte{}, fmt.Errorf("%s does not hold a key of %d hexadecimal digits", name, hex.EncodedLen(len(key)))
}

// checkPrivateKey refuses a file that others can read, where modes say so.
func checkPrivateKey(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if mode := info.Mode(); runtime.GOOS != "windows" && mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return fmt.Errorf("%s has mode %#o: a key must not be readable by others", f.Name(), mode.Perm())
	}
	return nil
}

// writeKey makes a file with a new key.
func writeKey(name string, key *[32]byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: a key that is in use must not be replaced", name)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%x\n", key[:])
	return errors.Join(err, f.Close())
}
