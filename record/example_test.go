package record_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// newKeys returns the keys of one direction, as a handshake makes them.
func newKeys() *keyschedule.TrafficKeys {
	suite := keyschedule.SuiteByID(keyschedule.TLS_AES_128_GCM_SHA256)
	key, iv := bytes.Repeat([]byte{1}, suite.Cipher.KeyLen()), bytes.Repeat([]byte{2}, 12)
	return keyschedule.NewTrafficKeys(suite, key, iv, nil, 0)
}

// The peers hold the same keys: one seals with them what the other opens.
func Example() {
	sealer, opener := record.NewSealer(newKeys()), record.NewOpener(newKeys())
	defer sealer.Wipe()
	defer opener.Wipe()

	wire, err := sealer.Seal(nil, record.ApplicationData, []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	n, err := opener.Need(wire)
	if err != nil {
		log.Fatal(err)
	}
	typ, content, err := opener.Open(nil, wire[:n])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes on the wire: %v %q\n", n, typ, content)
	// Output:
	// 27 bytes on the wire: application_data "hello"
}

// Release hands a direction over, to another record layer or a kernel. The
// sequence number goes with the keys, so no nonce is used twice.
func ExampleSealer_Release() {
	sealer := record.NewSealer(newKeys())
	for range 3 {
		if _, err := sealer.Seal(nil, record.ApplicationData, []byte("data")); err != nil {
			log.Fatal(err)
		}
	}
	keys := sealer.Release()
	_, err := sealer.Seal(nil, record.ApplicationData, []byte("more"))
	fmt.Println("the old owner:", err)

	next := record.NewSealer(keys)
	defer next.Wipe()
	fmt.Println("the new owner goes on with record", next.Seq())
	// Output:
	// the old owner: tls: traffic keys are no longer here
	// the new owner goes on with record 3
}
