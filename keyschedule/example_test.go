package keyschedule_test

import (
	"bytes"
	"fmt"

	"github.com/go-handoff/tls/keyschedule"
)

// Each KeyUpdate takes a direction's traffic secret one step on (RFC 9846,
// section 7.2), and its keys with it. Neither shows itself when printed.
func ExampleTrafficSecret() {
	suite := keyschedule.SuiteByID(keyschedule.TLS_AES_128_GCM_SHA256)
	secret := keyschedule.TrafficSecret{Secret: keyschedule.NewSecret(bytes.Repeat([]byte{1}, suite.Hash.Size()))}
	defer secret.Wipe()
	keys := secret.Keys(suite)
	defer keys.Wipe()

	next := secret.Next(suite.Hash)
	defer next.Wipe()
	nextKeys := next.Keys(suite)
	defer nextKeys.Wipe()

	fmt.Println("the keys stay:", bytes.Equal(keys.Key(), nextKeys.Key()))
	fmt.Println("length of key and IV:", len(nextKeys.Key()), len(nextKeys.IV()))
	fmt.Println("next record:", nextKeys.Seq)
	fmt.Printf("%v\n%+v\n%x\n", &next, nextKeys, next.Secret)
	// Output:
	// the keys stay: false
	// length of key and IV: 16 12
	// next record: 0
	// redacted
	// redacted
	// redacted
}
