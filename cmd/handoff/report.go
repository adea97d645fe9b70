package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/go-handoff/tls"
)

// summary is what was negotiated and who protects what is sent, in a few words.
func summary(c *tls.Conn) string {
	state := c.ConnectionState()
	return fmt.Sprintf("%s %s, TX in %v", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), c.Offload().TX.Where)
}

// newTable returns a writer that aligns what is between tabs.
func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// reportNegotiated prints all that was negotiated.
func reportNegotiated(w io.Writer, c *tls.Conn) error {
	state, details, offload := c.ConnectionState(), c.Details(), c.Offload()
	t := newTable(w)
	for _, row := range [][2]string{
		{"version", tls.VersionName(state.Version)},
		{"cipher suite", tls.CipherSuiteName(state.CipherSuite)},
		{"group", groupName(state.CurveID)},
		{"signature", signatureName(details.PeerSignatureScheme)},
		{"ALPN", orNone(state.NegotiatedProtocol)},
		{"resumed", yesNo(state.DidResume)},
		{"hello retry request", yesNo(state.HelloRetryRequest)},
		{"extended master secret", yesNo(details.ExtendedMasterSecret)},
		{"OCSP staple", size(state.OCSPResponse)},
		{"SCTs", fmt.Sprint(len(state.SignedCertificateTimestamps))},
		{"sending", offload.TX.String()},
		{"receiving", offload.RX.String()},
		{"records left", fmt.Sprintf("%d to send", offload.TX.Remaining)},
	} {
		fmt.Fprintf(t, "  %s\t%s\n", row[0], row[1])
	}
	return t.Flush()
}

// groupName returns the name of a key exchange group, which a handshake by a
// pre-shared key alone does not have.
func groupName(id tls.CurveID) string {
	if id == 0 {
		return "none"
	}
	if id == tls.X448 {
		return "X448" // crypto/tls has no name for it
	}
	return id.String()
}

// signatureName returns how the server signed; a resumed handshake has no
// signature.
func signatureName(scheme tls.SignatureScheme) string {
	if scheme == 0 {
		return "none"
	}
	return scheme.String()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func size(b []byte) string {
	if len(b) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d bytes", len(b))
}

// reportChain prints a certificate chain, the server's own first.
func reportChain(w io.Writer, chain []*x509.Certificate) error {
	for i, cert := range chain {
		t := newTable(w)
		for _, row := range [][2]string{
			{"subject", printable(cert.Subject.String())},
			{"issuer", printable(cert.Issuer.String())},
			{"valid", validity(cert, time.Now())},
			{"names", orNone(printable(strings.Join(names(cert), ", ")))},
			{"SHA-256", fingerprint(cert.Raw)},
		} {
			fmt.Fprintf(t, "  %d  %s\t%s\n", i, row[0], row[1])
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// printable replaces what the author of a certificate or an answer could
// confuse a terminal with.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// names lists whom a certificate is for.
func names(cert *x509.Certificate) []string {
	list := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	for _, u := range cert.URIs {
		list = append(list, u.String())
	}
	return append(list, cert.EmailAddresses...)
}

// validity says from when to when a certificate is valid, and what that means
// now.
func validity(cert *x509.Certificate, now time.Time) string {
	const day = 24 * time.Hour
	period := cert.NotBefore.UTC().Format(time.DateTime) + " to " + cert.NotAfter.UTC().Format(time.DateTime) + " UTC"
	switch left := cert.NotAfter.Sub(now); {
	case now.Before(cert.NotBefore):
		return period + " (not yet)"
	case left < 0:
		return period + " (expired)"
	default:
		return fmt.Sprintf("%s (%d days left)", period, left/day)
	}
}
