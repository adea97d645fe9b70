package openssl

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
)

// TestRecords changes the shape of records, which no content may depend on:
// their size, their padding, and what makes TLS 1.3 look like TLS 1.2.
func TestRecords(t *testing.T) {
	padded := func(c *tls.Config) { c.RecordPadding = func(n int) int { return 1000 - n%1000 } }
	large := func(c *tls.Config) { c.DynamicRecordSizingDisabled = true }
	unchanged := func(*tls.Config) {}
	for _, test := range []struct {
		name string
		version
		args   []string
		change func(*tls.Config)
	}{
		{"1.2/small", tls12, []string{"-max_send_frag", "512"}, unchanged},
		{"1.2/small-cbc", tls12, []string{"-max_send_frag", "512", "-cipher", "ECDHE-RSA-AES128-SHA"}, func(c *tls.Config) {
			c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}
		}},
		{"1.2/large", tls12, nil, large},
		{"1.3/small", tls13, []string{"-max_send_frag", "512"}, unchanged},
		{"1.3/large", tls13, nil, large},
		{"1.3/padded-by-openssl", tls13, []string{"-record_padding", "4096"}, unchanged},
		{"1.3/padded-by-us", tls13, nil, padded},
		{"1.3/no-middlebox", tls13, []string{"-no_middlebox"}, unchanged},
	} {
		text := strings.Repeat("0123456789abcdef", 1500)
		row(t, test.name+"/s_server", func(t *testing.T) {
			s := startServer(t, slices.Concat(identity(pki.RSA), []string{"-rev"}, test.args))
			cfg := test.pin(clientConfig())
			test.change(cfg)
			conn := s.dial(t, cfg)
			for range 20 { // s_server -rev takes lines of up to 16 KB
				line := text[:16000]
				send(t, conn, line+"\n")
				back := []byte(line)
				slices.Reverse(back)
				receive(t, conn, string(back)+"\n")
			}
		})
		row(t, test.name+"/s_client", func(t *testing.T) {
			cfg := test.pin(serverConfig(pki.RSA))
			test.change(cfg)
			l := listen(t, cfg)
			p := l.client(test.args)
			conn := l.accept()
			for range 5 {
				p.Say(text)
				receive(t, conn, text+"\n")
			}
			send(t, conn, strings.Repeat(text, 8)+"!\n")
			p.Expect(strings.Repeat(text, 8) + "!\n")
		})
	}
}
