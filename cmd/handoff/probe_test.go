package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
)

// What is printed is what the kernel says here, whatever that is.
func TestProbe(t *testing.T) {
	report := kernel.Probe()
	text := handoff(t, nil, "probe")
	text.want(t, exitOK, "")
	if want := map[bool]string{true: ": kernel TLS\n", false: ": no kernel TLS\n  " + report.Reason + "\n"}[report.Available]; !strings.HasPrefix(text.stdout, report.System+want) {
		t.Errorf("printed\n%s", text.stdout)
	}
	for _, args := range [][]string{{"probe", "--json"}, {"probe", "--json", "--stat"}} {
		r := handoff(t, nil, args...)
		r.want(t, exitOK, "")
		var got findings
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
			t.Fatal(err)
		}
		if want := newFindings(report); got.System != want.System || got.Available != want.Available || got.Reason != want.Reason ||
			!slices.Equal(got.Ciphers, want.Ciphers) || !slices.Equal(got.Features, want.Features) || !slices.Equal(got.Policy, want.Policy) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if !strings.Contains(handoff(t, nil, "probe", "--stat").stdout, "\nThe kernel's counters\n  ") {
		t.Error("--stat prints no counters")
	}
	r := handoff(t, nil, "probe", "--require")
	if report.Available {
		r.want(t, exitOK, "")
	} else {
		r.want(t, exitError, "no kernel TLS here: "+report.Reason)
	}
	if r.stdout != text.stdout {
		t.Errorf("--require prints\n%s\ninstead of\n%s", r.stdout, text.stdout)
	}
}

// The tables for kernels of several kinds.
func TestProbeTables(t *testing.T) {
	yes, old := kernel.Support{OK: true}, kernel.Support{Reason: "this kernel is old"}
	entry := func(version uint16, cipher keyschedule.Cipher, tx, rx kernel.Support) kernel.Capability {
		return kernel.Capability{Version: version, Cipher: cipher, TX: tx, RX: rx}
	}
	var all bytes.Buffer
	for _, r := range []*kernel.Report{
		{System: "one", Reason: "there is no module"},
		{
			System: "two", Available: true, Rekey: yes, NoPad: yes, SpliceRX: yes, MaxPayload: yes, DeviceOffload: yes,
			Entries: []kernel.Capability{entry(tls.VersionTLS13, keyschedule.AES128GCM, yes, yes)},
		},
		{
			System: "three", Available: true, Rekey: old, NoPad: old, SpliceRX: yes, MaxPayload: old, DeviceOffload: kernel.Support{Reason: "no device does"},
			Entries: []kernel.Capability{
				entry(tls.VersionTLS13, keyschedule.AES256GCM, yes, old),
				entry(tls.VersionTLS13, keyschedule.ChaCha20Poly1305, kernel.Support{Reason: "no such cipher"}, old),
				entry(tls.VersionTLS12, 99, yes, yes),
			},
		},
	} {
		if err := newFindings(r).print(&all); err != nil {
			t.Fatal(err)
		}
		all.WriteString("\n")
	}
	f := findings{Counters: map[string]uint64{"TlsTxSw": 12, "TlsCurrTxSw": 0}}
	if err := f.printCounters(&all); err != nil {
		t.Fatal(err)
	}
	golden(t, "probe.golden", all.String())
}

func TestKernelProbe(t *testing.T) {
	needKernel(t)
	r := handoff(t, nil, "probe", "--require", "--stat", "--json")
	r.want(t, exitOK, "")
	var got findings
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	want := cipherFinding{"TLS 1.3", "AES-128-GCM", finding{OK: true}, finding{OK: true}}
	if !slices.Contains(got.Ciphers, want) || len(got.Features) == 0 {
		t.Errorf("%+v", got)
	}
	if got.Counters["TlsTxSw"] == 0 { // what the probe has done
		t.Errorf("counters: %v", slices.Sorted(maps.Keys(got.Counters)))
	}
	text := handoff(t, nil, "probe").stdout
	if !regexp.MustCompile(`(?m)^  TLS 1\.3  AES-128-GCM +yes +yes$`).MatchString(text) {
		t.Errorf("printed\n%s", text)
	}
}
