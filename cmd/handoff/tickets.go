package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-handoff/tls/session"
)

// ticketsCmd shows and rotates the ticket keys that servers share.
type ticketsCmd struct {
	Where  string `arg:"" optional:"" help:"Where the keys are, as in --tickets of handoff serve."`
	Rotate bool   `help:"Make the next key the current one now, and a new one the next."`
	NewKey string `name:"new-key" placeholder:"FILE" help:"Make a file with a new key for --tickets-key, and do nothing else."`
	JSON   bool   `name:"json" help:"Print it as JSON."`
	ringFlags
}

// Help is printed below the flags.
func (ticketsCmd) Help() string {
	return `Shows the ticket keys that servers share by "handoff serve --tickets WHERE": how the name of each begins, what it is for and when it was made, but not the keys. Nothing is changed unless --rotate is given.

Servers change over to the next key by the clock, one --tickets-interval after they were told of it. With --rotate they do so now, or when they look next: that is for a key that may have leaked. Tickets of the two keys before it are still taken; rotate three times to be rid of them.

Examples:

  handoff tickets --new-key ticket.key

  handoff serve /srv --cert chain.pem --key key.pem --tickets file:/var/lib/handoff/tickets --tickets-key ticket.key

  handoff tickets file:/var/lib/handoff/tickets --tickets-key ticket.key

  handoff tickets redis://localhost:6379 --tickets-key ticket.key --rotate`
}

// Validate refuses flags that do not fit together. It is called by the parser.
func (c ticketsCmd) Validate() error {
	if c.NewKey != "" {
		if c.Where != "" || c.TicketsKey != "" || c.Rotate || c.JSON {
			return errors.New("--new-key goes with nothing else")
		}
		return nil
	}
	if c.Where == "" || c.Where == ticketsInMemory {
		return errors.New("which keys? Name where they are: " + placeNames)
	}
	return c.validate("", c.Where)
}

// Run implements the command.
func (c *ticketsCmd) Run(ctx context.Context, p *process) error {
	if c.NewKey != "" {
		return newKey(c.NewKey)
	}
	ring, src, err := c.ring(c.Where)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ticketsTimeout)
	defer cancel()
	status, err := c.look(ctx, ring)
	if err := errors.Join(err, src.Close()); err != nil {
		return err
	}
	return c.print(p.stdout, status)
}

func newKey(name string) error {
	var key [32]byte
	defer clear(key[:])
	_, _ = rand.Read(key[:]) // which never fails
	return writeKey(name, &key)
}

// look returns the state of the ring, rotated if that is wanted.
func (c *ticketsCmd) look(ctx context.Context, ring *session.KeyRing) (session.RingStatus, error) {
	b, _, err := ring.Source.Load(ctx)
	switch {
	case err != nil:
		return session.RingStatus{}, err
	case b == nil:
		return session.RingStatus{}, fmt.Errorf("there are no keys in %v: servers make them", ring.Source)
	case c.Rotate:
		err = ring.Rotate(ctx)
		return ring.Status(), err
	}
	ring.Source = watched{ring.Source}
	if err := ring.Refresh(ctx); err != nil && !errors.Is(err, errOnlyWatched) {
		return session.RingStatus{}, err
	}
	return ring.Status(), nil
}

// watched is a source that must stay as it is. A ring that looks at it would
// rotate keys that are overdue.
type watched struct{ session.RingSource }

var errOnlyWatched = errors.New("not to be changed")

// Replace implements session.RingSource.
func (watched) Replace(context.Context, string, []byte) (string, bool, error) {
	return "", false, errOnlyWatched
}

// String is the source's own name.
func (w watched) String() string { return fmt.Sprint(w.RingSource) }

// ringReport is what tickets prints.
type ringReport struct {
	Source       string      `json:"source"`
	NextRotation time.Time   `json:"next_rotation"`
	Overdue      bool        `json:"overdue"`
	Keys         []keyReport `json:"keys"`
}

type keyReport struct {
	Name  string     `json:"name"` // how it begins
	State string     `json:"state"`
	Made  time.Time  `json:"made"`
	Since *time.Time `json:"sealing_since,omitempty"`
	Until *time.Time `json:"sealed_until,omitempty"`
}

func (c *ticketsCmd) print(w io.Writer, s session.RingStatus) error {
	r := newRingReport(s, time.Now())
	if c.JSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(w)
}

func newRingReport(s session.RingStatus, now time.Time) ringReport {
	r := ringReport{Source: s.Source, NextRotation: s.NextRotation.UTC(), Overdue: now.After(s.NextRotation)}
	for i, k := range s.Keys {
		key := keyReport{Name: k.Name, State: keyState(i), Made: k.Made.UTC()}
		if !k.Since.IsZero() {
			since := k.Since.UTC()
			key.Since = &since
		}
		if !k.Until.IsZero() {
			until := k.Until.UTC()
			key.Until = &until
		}
		r.Keys = append(r.Keys, key)
	}
	return r
}

// keyState is what the i-th key of a ring is for.
func keyState(i int) string {
	switch i {
	case 0:
		return "next"
	case 1:
		return "current"
	}
	return "old"
}

func (r ringReport) print(w io.Writer) error {
	fmt.Fprintf(w, "ticket keys in %s\n", printable(r.Source))
	t := newTable(w)
	fmt.Fprintln(t, "  name\tstate\tmade\tseals from\tto")
	for _, k := range r.Keys {
		from, to := moment(k.Since), moment(k.Until)
		switch k.State {
		case "next":
			from = moment(&r.NextRotation)
		case "current":
			to = moment(&r.NextRotation)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", k.Name, k.State, moment(&k.Made), from, to)
	}
	if err := t.Flush(); err != nil || !r.Overdue {
		return err
	}
	_, err := fmt.Fprintln(w, "the next key is due since then: its servers will make the one after it when they look next, if there are any")
	return err
}

// moment is a time in few characters.
func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format("2006-01-02 15:04:05Z")
}
