package tls_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/go-handoff/tls"
)

// answerEarly serves one connection after the other. A question may be a replay,
// which does no harm here: answering it twice changes nothing.
func answerEarly(l net.Listener) {
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		conn := raw.(*tls.Conn)
		buf := make([]byte, 100)
		n, err := conn.ReadEarlyData(buf)
		if errors.Is(err, io.EOF) { // none, or none that is accepted
			n, err = conn.Read(buf)
		}
		if err == nil {
			complete := conn.ConnectionState().HandshakeComplete
			_, _ = fmt.Fprintf(earlyWriter{conn}, "%s It is early: %v.\n", buf[:n], !complete)
			_ = conn.Handshake() // or there would be no ticket for the next time
		}
		conn.Close()
	}
}

// earlyWriter writes at once, where Write would complete the handshake first.
type earlyWriter struct{ *tls.Conn }

func (w earlyWriter) Write(b []byte) (int, error) { return w.WriteEarlyData(b) }

// A client asks a question: the second time together with its ClientHello.
func ExampleConn_WriteEarlyData() {
	cert, roots := newCertificate()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{cert},
		MaxEarlyData: 16384,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go answerEarly(l)

	config := &tls.Config{ServerName: "localhost", RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	for range 2 {
		raw, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		conn := tls.Client(raw, config)
		question := []byte("What time is it?")
		sent, err := conn.WriteEarlyData(question)
		if err != nil && !errors.Is(err, tls.ErrNoEarlyData) && !errors.Is(err, tls.ErrEarlyDataLimit) {
			log.Fatal(err)
		}
		if err := conn.Handshake(); err != nil {
			log.Fatal(err)
		}
		if !conn.EarlyData().Accepted {
			sent = 0 // the server has seen nothing of it
		}
		if _, err := conn.Write(question[sent:]); err != nil {
			log.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(string(answer))
		conn.Close()
	}
	// Output:
	// What time is it? It is early: false.
	// What time is it? It is early: true.
}
