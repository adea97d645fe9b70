// Package rfc8448 holds the example handshakes of RFC 8448, TLS 1.3's published
// traces: every message, key and record of five connections, and the private
// keys to make them again. Tests anywhere in this module check against it.
//
// The files in data say what the RFC says, step by step and in its order; only
// page breaks and blanks between bytes are gone. A step begins with who takes
// it, then come its fields, each with its length and its bytes:
//
//	client: send handshake record
//	  payload (196)
//	    010000c0...
//
// Of the keys that certificates are about, the RFC publishes only the RSA key
// of the server; see [ServerKey]. It calls the salt of an extraction that has
// none "0", which is an empty field here.
package rfc8448

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"embed"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// The two sides, as they stand in [Step.Who].
const (
	Client = "client"
	Server = "server"
)

// The names of the traces, in the order of the RFC's sections 3 to 7.
const (
	Simple1RTT           = "simple-1rtt"
	Resumed0RTT          = "resumed-0rtt"
	HelloRetryRequest    = "hello-retry-request"
	ClientAuthentication = "client-authentication"
	CompatibilityMode    = "compatibility-mode"
)

// Trace is one connection.
type Trace struct {
	Name  string
	Steps []Step
}

// Step is one thing that one side does: makes a key, derives a secret, sends a
// record. Where the RFC says only that it equals what the other side did, it
// has no fields, and What says so.
type Step struct {
	Who    string
	What   string
	Fields map[string][]byte
}

//go:embed data
var data embed.FS

// Traces returns all traces. They are the caller's to change.
func Traces() []*Trace {
	var traces []*Trace
	for _, name := range []string{Simple1RTT, Resumed0RTT, HelloRetryRequest, ClientAuthentication, CompatibilityMode} {
		traces = append(traces, Get(name))
	}
	return traces
}

// Get returns the trace of that name. It panics if there is none.
func Get(name string) *Trace {
	b, err := data.ReadFile("data/" + name + ".txt")
	if err != nil {
		panic("rfc8448: " + err.Error())
	}
	steps, err := parse(b)
	if err != nil {
		panic(fmt.Sprintf("rfc8448: %s: %v", name, err))
	}
	return &Trace{Name: name, Steps: steps}
}

// ServerKey returns the key of the RSA certificate that the server shows in all
// traces but two: none in resumed-0rtt, an ECDSA one in client-authentication.
func ServerKey() *rsa.PrivateKey {
	step := Get("rsa-key").Find(Server, "RSA private key", 0)
	number := func(field string) *big.Int { return new(big.Int).SetBytes(step.Bytes(field)) }
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: number("modulus"), E: int(number("public exponent").Int64())},
		D:         number("private exponent"),
		Primes:    []*big.Int{number("prime1"), number("prime2")},
	}
	key.Precompute()
	return key
}

// Find returns the nth step, counted from 0, of those that have fields, that
// who takes, and whose What begins with prefix. It panics if there is none.
func (t *Trace) Find(who, prefix string, nth int) Step {
	n := nth
	for _, s := range t.Steps {
		if s.Who != who || len(s.Fields) == 0 || !strings.HasPrefix(s.What, prefix) {
			continue
		}
		if n == 0 {
			return s
		}
		n--
	}
	panic(fmt.Sprintf("rfc8448: %s: %s has no step %d %q", t.Name, who, nth, prefix))
}

// Bytes returns the value of a field. It panics if the step does not have it.
func (s Step) Bytes(field string) []byte {
	b, ok := s.Fields[field]
	if !ok {
		panic(fmt.Sprintf("rfc8448: %q of %s has no field %q", s.What, s.Who, field))
	}
	return b
}

// parser builds steps line by line.
type parser struct {
	steps []Step
	field string
	want  int // length of the field, as announced
}

func parse(b []byte) ([]Step, error) {
	var p parser
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		if err := p.line(lines.Text()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return p.steps, p.endField()
}

func (p *parser) line(line string) error {
	switch {
	case line == "" || line[0] == '#':
		return nil
	case strings.HasPrefix(line, "    "):
		return p.bytes(line)
	case strings.HasPrefix(line, "  "):
		return p.beginField(line)
	default:
		return p.beginStep(line)
	}
}

func (p *parser) beginStep(line string) error {
	who, what, ok := strings.Cut(line, ": ")
	if !ok || who != Client && who != Server {
		return fmt.Errorf("not a step: %q", line)
	}
	err := p.endField()
	p.steps = append(p.steps, Step{Who: who, What: what, Fields: make(map[string][]byte)})
	return err
}

func (p *parser) beginField(line string) error {
	if err := p.endField(); err != nil {
		return err
	}
	name, length, ok := strings.Cut(strings.TrimSpace(line), " (")
	if !ok || len(p.steps) == 0 {
		return fmt.Errorf("not a field: %q", line)
	}
	if _, err := fmt.Sscanf(length, "%d)", &p.want); err != nil {
		return fmt.Errorf("not a length: %q", line)
	}
	p.field = name
	p.fields()[name] = []byte{}
	return nil
}

func (p *parser) bytes(line string) error {
	b, err := hex.DecodeString(strings.TrimSpace(line))
	if err != nil || p.field == "" {
		return fmt.Errorf("not bytes of a field: %q", line)
	}
	p.fields()[p.field] = append(p.fields()[p.field], b...)
	return nil
}

// endField checks that the field that was read is as long as announced.
func (p *parser) endField() error {
	if p.field == "" {
		return nil
	}
	name := p.field
	p.field = ""
	if got := len(p.fields()[name]); got != p.want {
		return fmt.Errorf("field %q has %d bytes, not %d", name, got, p.want)
	}
	return nil
}

func (p *parser) fields() map[string][]byte { return p.steps[len(p.steps)-1].Fields }
