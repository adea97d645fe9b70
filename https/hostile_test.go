package https

import (
	stdtls "crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// dialALPN is a client that speaks no HTTP yet.
func dialALPN(t testing.TB, s *server, protocol string) *stdtls.Conn {
	t.Helper()
	c, err := stdtls.Dial("tcp", s.addr, &stdtls.Config{RootCAs: newIdentity().pool, NextProtos: []string{protocol}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// TestHostileHTTP2 agrees on HTTP/2 and speaks something else. The handler must
// not see it, and the connection ends at once.
func TestHostileHTTP2(t *testing.T) {
	leaks(t)
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("handled") })
	frame := func(typ, flags byte, stream byte, payload string) string {
		n := len(payload)
		return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), typ, flags, 0, 0, 0, stream}) + payload
	}
	settings := frame(4, 0, 0, "")
	var clients sync.WaitGroup
	for name, sent := range map[string]string{
		"HTTP/1.1":              "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"another preface":       "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
		"a wrong last byte":     preface[:len(preface)-1] + "x",
		"zeros":                 strings.Repeat("\x00", 100),
		"one byte":              "x",
		"no settings":           preface + frame(0, 0, 1, "data"),
		"a frame of 16 MiB":     preface + settings + "\xff\xff\xff\x00\x00\x00\x00\x00\x01",
		"headers of nonsense":   preface + settings + frame(1, 4, 1, strings.Repeat("\xff", 100)),
		"an even stream":        preface + settings + frame(1, 4, 2, "\x82"),
		"settings of a stream":  preface + frame(4, 0, 1, ""),
		"continuation of none":  preface + settings + frame(9, 4, 1, "x"),
		"half a frame":          preface + settings[:5],
		"half a preface":        preface[:10],
		"a preface and the end": preface,
	} {
		c := dialALPN(t, s, "h2")
		clients.Go(func() {
			if _, err := io.WriteString(c, sent); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if strings.HasPrefix(name, "half") || strings.HasSuffix(name, "end") {
				_ = c.CloseWrite()
			}
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
			c.Close()
		})
	}
	clients.Wait()
}

// TestSlowPreface has clients that agree on HTTP/2 and say nothing, or too
// slowly: the server's timeout ends them.
func TestSlowPreface(t *testing.T) {
	leaks(t)
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("handled") }, func(srv *http.Server, _ *tls.Config) {
		srv.ReadHeaderTimeout = 200 * time.Millisecond
	})
	var clients sync.WaitGroup
	for _, protocol := range []string{"h2", "http/1.1"} {
		for _, slow := range []bool{false, true} {
			c := dialALPN(t, s, protocol)
			clients.Go(func() {
				first := map[string]string{"h2": preface, "http/1.1": "GET / HTTP/1.1\r\n"}[protocol]
				start := time.Now()
				if slow {
					go func() {
						for i := range first {
							if _, err := io.WriteString(c, first[i:i+1]); err != nil {
								return
							}
							time.Sleep(50 * time.Millisecond)
						}
					}()
				}
				_, err := io.Copy(io.Discard, c)
				if d := time.Since(start); errors.Is(err, os.ErrDeadlineExceeded) || d > 5*time.Second {
					t.Errorf("%s, slow %v: %v after %v", protocol, slow, err, d)
				}
			})
		}
	}
	clients.Wait()
}

// TestShutdownRaces shuts servers down while clients of all kinds come.
func TestShutdownRaces(t *testing.T) {
	leaks(t)
	for i := range 20 {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, func(_ *http.Server, config *tls.Config) {
			config.Kernel = kernel.Policy{RX: kernel.Auto, MoveTX: kernel.AtOnce}
		})
		var clients sync.WaitGroup
		for n := range 8 {
			clients.Go(func() {
				c := stockClient(t, versions[n%2].protocols)
				defer c.CloseIdleConnections()
				for {
					resp, err := c.Get(s.url("/"))
					if err != nil {
						return
					}
					// What was answered is whole.
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(body) != "hello" {
						t.Errorf("%q, %v", body, err)
						return
					}
				}
			})
			clients.Go(func() {
				if c, err := net.Dial("tcp", s.addr); err == nil {
					_, _ = c.Write([]byte{22, 3, 1, 0, 100})
					_, _ = io.Copy(io.Discard, c)
					c.Close()
				}
			})
		}
		time.Sleep(time.Duration(i) * 2 * time.Millisecond)
		if err := s.Shutdown(withTimeout(t, patience)); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		clients.Wait()
	}
}
