package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
)

// probeCmd shows what the kernel can do.
type probeCmd struct {
	JSON    bool `name:"json" help:"Print it as JSON."`
	Stat    bool `help:"Print the kernel's counters of TLS too."`
	Require bool `help:"Fail, with exit status 1, if the kernel has no TLS."`
}

// Help is printed below the flags.
func (probeCmd) Help() string {
	return `Finds out what this machine's kernel can do with TLS, by doing it: on connections over loopback, with keys of no worth. For each protocol version and cipher it says whether the kernel can encrypt what is sent and decrypt what is received, then what else it can do, each time yes or no, and why not; and what comes of that for connections here.

Without kernel TLS everything works, in user space. That is no failure, so the exit status is 0 unless --require is given. The counters are those of /proc/net/tls_stat: of all connections in this network namespace.

Examples:

  handoff probe

  handoff probe --require --json`
}

// findings are what probe prints. JSON has the same words as the tables.
type findings struct {
	System    string            `json:"system"`
	Available bool              `json:"available"`
	Reason    string            `json:"reason,omitempty"` // why not available
	Ciphers   []cipherFinding   `json:"ciphers"`
	Features  []feature         `json:"features"`
	Policy    []consequence     `json:"policy"`
	Counters  map[string]uint64 `json:"counters,omitempty"`
}

type cipherFinding struct {
	Version string  `json:"version"`
	Cipher  string  `json:"cipher"`
	TX      finding `json:"tx"`
	RX      finding `json:"rx"`
}

type finding struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // why not
}

type feature struct {
	Name string `json:"name"`
	finding
}

// consequence is what comes of the kernel's abilities for connections.
type consequence struct {
	Case string `json:"case"`
	Here string `json:"here"`
}

// Run implements the command.
func (c *probeCmd) Run(p *process) error {
	r := kernel.Probe()
	f := newFindings(r)
	if c.Stat {
		counters, err := kernel.Stat()
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		f.Counters = counters
	}
	if err := c.print(p.stdout, f); err != nil {
		return err
	}
	if c.Require && !r.Available {
		return noKernel(r)
	}
	return nil
}

func (c *probeCmd) print(w io.Writer, f *findings) error {
	if c.JSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(f)
	}
	if err := f.print(w); err != nil || !c.Stat {
		return err
	}
	return f.printCounters(w)
}

func newFindings(r *kernel.Report) *findings {
	f := &findings{System: r.System, Available: r.Available, Reason: r.Reason, Ciphers: []cipherFinding{}, Features: []feature{}, Policy: consequences(r)}
	if !r.Available {
		return f
	}
	for _, c := range r.Entries {
		f.Ciphers = append(f.Ciphers, cipherFinding{tls.VersionName(c.Version), cipherName(c.Cipher), finding(c.TX), finding(c.RX)})
	}
	f.Features = []feature{
		{"new keys on a connection (KeyUpdate, TLS 1.3)", finding(r.Rekey)},
		{"splice from a connection", finding(r.SpliceRX)},
		{"receiving into place what is not padded", finding(r.NoPad)},
		{"limit on the size of records", finding(r.MaxPayload)},
		{"records protected by a network device", finding(r.DeviceOffload)},
	}
	return f
}

var cipherNames = map[keyschedule.Cipher]string{
	keyschedule.AES128GCM:        "AES-128-GCM",
	keyschedule.AES256GCM:        "AES-256-GCM",
	keyschedule.ChaCha20Poly1305: "ChaCha20-Poly1305",
}

func cipherName(c keyschedule.Cipher) string {
	if name, ok := cipherNames[c]; ok {
		return name
	}
	return fmt.Sprintf("cipher %d", c)
}

// consequences says what connections do here if nothing else is asked for.
func consequences(r *kernel.Report) []consequence {
	if !r.Available {
		return []consequence{
			{"sending", "user space"},
			{"receiving", "user space"},
			{"new keys, TLS 1.3", "sent before the key's limit and when the peer asks; taken when the peer sends them"},
			{"new keys, TLS 1.2", "there are none: the connection is closed before the key's limit"},
		}
	}
	return append([]consequence{
		{"sending", sendingWords["auto"]},
		{"receiving", receivingWords[kernelOff]},
	}, newKeys(r.Rekey.OK)...)
}

// newKeys says what happens when a connection needs new keys.
func newKeys(can bool) []consequence {
	sending := "KeyUpdate is sent, and the kernel gets the next key; the connection goes on"
	receiving := "the kernel gets the next key; the connection goes on"
	if !can {
		sending = "none are sent: the connection is closed in good order before the key's limit, or when the peer asks for them"
		receiving = "only --kernel-rx require lets the kernel receive: the connection then ends with an alert"
	}
	return []consequence{
		{"new keys, TLS 1.3, kernel sends", sending},
		{"new keys, TLS 1.3, kernel receives", receiving},
		{"new keys, TLS 1.3, user space", "taken and sent; the connection goes on"},
		{"new keys, TLS 1.2", "there are none: the connection is closed before the key's limit"},
	}
}

// print prints the tables.
func (f *findings) print(w io.Writer) error {
	if !f.Available {
		fmt.Fprintf(w, "%s: no kernel TLS\n  %s\n", f.System, f.Reason)
	} else {
		fmt.Fprintf(w, "%s: kernel TLS\n\n", f.System)
		if err := errors.Join(f.printCiphers(w), f.printFeatures(w)); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "\nWhat handoff does here, unless told otherwise")
	t := newTable(w)
	for _, c := range f.Policy {
		fmt.Fprintf(t, "  %s\t%s\n", c.Case, c.Here)
	}
	return t.Flush()
}

// printCiphers prints a table whose refusals refer to notes below it, as many
// have the same reason.
func (f *findings) printCiphers(w io.Writer) error {
	var notes []string
	cell := func(f finding) string {
		if f.OK {
			return "yes"
		}
		i := slices.Index(notes, f.Reason)
		if i < 0 {
			i, notes = len(notes), append(notes, f.Reason)
		}
		return fmt.Sprintf("no (%d)", i+1)
	}
	t := newTable(w)
	fmt.Fprintln(t, "  version\tcipher\tsending (TX)\treceiving (RX)")
	for _, c := range f.Ciphers {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", c.Version, c.Cipher, cell(c.TX), cell(c.RX))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i, note := range notes {
		fmt.Fprintf(w, "  (%d) %s\n", i+1, note)
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (f *findings) printFeatures(w io.Writer) error {
	t := newTable(w)
	for _, feature := range f.Features {
		answer := yesNo(feature.OK)
		if feature.Reason != "" {
			answer += ": " + feature.Reason
		}
		fmt.Fprintf(t, "  %s\t%s\n", feature.Name, answer)
	}
	return t.Flush()
}

func (f *findings) printCounters(w io.Writer) error {
	fmt.Fprintln(w, "\nThe kernel's counters")
	if len(f.Counters) == 0 {
		_, err := fmt.Fprintln(w, "  none: the kernel has none, or has not loaded TLS")
		return err
	}
	t := newTable(w)
	for _, name := range slices.Sorted(maps.Keys(f.Counters)) {
		fmt.Fprintf(t, "  %s\t%d\n", name, f.Counters[name])
	}
	return t.Flush()
}
