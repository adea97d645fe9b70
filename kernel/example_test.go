//go:build unix

package kernel_test

import (
	"fmt"
	"log"
	"os"
	"text/tabwriter"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/kernel/kerneltest"
	"github.com/go-handoff/tls/keyschedule"
)

// exampleKeys returns the same keys each time, as both ends of a connection derive
// them. Real ones come from a handshake, and are used by one owner only.
func exampleKeys() *keyschedule.TrafficKeys {
	suite := keyschedule.SuiteByID(keyschedule.TLS_AES_128_GCM_SHA256)
	return keyschedule.NewTrafficKeys(suite, make([]byte, 16), make([]byte, 12), nil, 0)
}

// One end's sending direction and the other's receiving direction move to the
// kernel; a model of Linux here, so that this runs everywhere.
func ExampleSocket() {
	a, b, err := kerneltest.Pair(kernel.RulesLinux)
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	sender, err := kernel.Open(a)
	if err != nil {
		log.Fatal(err)
	}
	receiver, err := kernel.Open(b)
	if err != nil {
		log.Fatal(err)
	}
	if err := sender.InstallTX(exampleKeys()); err != nil {
		log.Fatal(err)
	}
	if err := receiver.InstallRX(exampleKeys()); err != nil {
		log.Fatal(err)
	}

	fmt.Fprint(a, "application data is written to the connection itself")
	if err := sender.SendControl(21, []byte{1, 0}); err != nil { // close_notify
		log.Fatal(err)
	}
	buf := make([]byte, 1000)
	for range 2 {
		typ, n, _, err := receiver.Receive(buf)
		fmt.Printf("type %d: %q, %v\n", typ, buf[:n], err)
	}
	// Output:
	// type 23: "application data is written to the connection itself", <nil>
	// type 21: "\x01\x00", <nil>
}

func ExampleProbe() {
	r := kernel.Probe()
	if !r.Available {
		fmt.Println("no kernel TLS here:", r.Reason)
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, c := range r.Entries {
		fmt.Fprintf(w, "%x\t%d\t%v\t%v\n", c.Version, c.Cipher, c.TX.OK, c.RX.OK)
	}
	fmt.Fprintln(w, "new keys\t", r.Rekey.OK, r.Rekey.Reason)
	_ = w.Flush()
}
