package tls_test

import (
	"fmt"
	"io"
	"log"

	"github.com/go-handoff/tls"
)

// A server is replaced under an open connection. Between two processes the
// descriptor goes through a Unix socket (SCM_RIGHTS) or is inherited, and the
// key is given to the new process when it starts.
func ExampleConn_Detach() {
	cert, roots := newCertificate()
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	client, server := pair(&tls.Config{RootCAs: roots, ServerName: "localhost"}, config)
	fmt.Fprint(client, "question")

	// The old process.
	key := tls.GenerateHandoverKey()
	descriptor, blob, err := server.Detach(key)
	if err != nil {
		log.Fatal(err)
	}
	secret := key.Bytes()

	// The new process.
	sameKey, err := tls.NewHandoverKey(secret)
	if err != nil {
		log.Fatal(err)
	}
	successor, err := tls.Adopt(descriptor, blob, sameKey, config)
	if err != nil {
		log.Fatal(err)
	}
	question := make([]byte, 8)
	if _, err := io.ReadFull(successor, question); err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(successor, "answer to the %s", question)
	successor.Close()

	answer, err := io.ReadAll(client)
	fmt.Printf("%s, %v\n", answer, err)
	// Output: answer to the question, <nil>
}
