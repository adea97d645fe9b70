package openssl

import (
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
)

// group is a key exchange group under openssl's name.
type group struct {
	id   tls.CurveID
	name string
}

// suite is a cipher suite under openssl's name.
type suite struct {
	id   uint16
	name string // openssl's
	rsa  bool   // needs an RSA certificate, in TLS 1.2
}

func (s suite) String() string { return tls.CipherSuiteName(s.id) }

// What this stack has; probe keeps what openssl has too.
var (
	groups = []group{
		{tls.X25519MLKEM768, "X25519MLKEM768"},
		{tls.SecP256r1MLKEM768, "SecP256r1MLKEM768"},
		{tls.SecP384r1MLKEM1024, "SecP384r1MLKEM1024"},
		{tls.X25519, "X25519"},
		{tls.CurveP256, "P-256"},
		{tls.CurveP384, "P-384"},
		{tls.CurveP521, "P-521"},
		{tls.X448, "X448"},
	}
	suites13 = []suite{
		{tls.TLS_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", false},
		{tls.TLS_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", false},
		{tls.TLS_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", false},
	}
	suites12 = []suite{
		{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", false},
		{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", false},
		{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", false},
		{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES128-SHA", false},
		{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDHE-ECDSA-AES256-SHA", false},
		{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", true},
		{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", true},
		{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", true},
		{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA", true},
		{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "ECDHE-RSA-AES256-SHA", true},
	}
)

// lacks is what this stack has and the installed openssl does not.
var lacks []string

// banner is openssl's version.
var banner string

// probe finds out what the installed openssl has.
func probe() error {
	out, err := exec.Command(command, "version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("openssl version: %w\n%s", err, out)
	}
	banner = strings.TrimSpace(string(out))
	groups = slices.DeleteFunc(groups, func(g group) bool {
		return missing("group "+g.name, "s_client", "-connect", "127.0.0.1:0", "-groups", g.name)
	})
	suites13 = slices.DeleteFunc(suites13, func(s suite) bool {
		return missing("suite "+s.name, "ciphers", "-tls1_3", "-s", "-ciphersuites", s.name)
	})
	suites12 = slices.DeleteFunc(suites12, func(s suite) bool {
		return missing("suite "+s.name, "ciphers", "-tls1_2", "-s", s.name)
	})
	if len(groups) == 0 || len(suites12) == 0 || len(suites13) == 0 {
		return fmt.Errorf("%s has nothing in common with this stack: it lacks %v", banner, lacks)
	}
	return nil
}

// missing reports whether openssl refuses its arguments. That it then cannot
// connect to port 0 is no refusal.
func missing(what string, args ...string) bool {
	out, err := exec.Command(command, args...).CombinedOutput()
	text := string(out)
	if err == nil || strings.Contains(text, "BIO_connect") {
		return false
	}
	lacks = append(lacks, what)
	return true
}

// summary prints what was tested.
func summary(w io.Writer) {
	fmt.Fprintf(w, "\nagainst %s\n", banner)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "test\tpassed\tfailed")
	passed, failed := 0, 0
	for _, test := range slices.Sorted(maps.Keys(merge(results.passed, results.failed))) {
		fmt.Fprintf(tw, "%s\t%d\t%d\n", test, results.passed[test], results.failed[test])
		passed += results.passed[test]
		failed += results.failed[test]
	}
	fmt.Fprintf(tw, "all\t%d\t%d\n", passed, failed)
	tw.Flush()
	fmt.Fprintf(w, "%d groups, %d suites, certificates %v\n", len(groups), len(suites12)+len(suites13), pki.Kinds())
	fmt.Fprintln(w, "not tested: certificate compression, which OpenSSL has since 3.2 and not in every build")
	if len(lacks) > 0 {
		fmt.Fprintf(w, "not tested, because this openssl lacks it: %s\n", strings.Join(lacks, ", "))
	}
}

func merge(a, b map[string]int) map[string]int {
	m := maps.Clone(a)
	maps.Copy(m, b)
	return m
}
