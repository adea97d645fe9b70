package bogo

import "strings"

// reasons say why a flag is not implemented: what it asks for does not exist
// here. A case that uses one is not run.
var reasons = map[string]string{
	"dtls":                                 "there is no DTLS",
	"quic":                                 "there is no QUIC",
	"is-handshaker-supported":              "split handshakes are BoringSSL's own",
	"ech-config-list":                      "Encrypted Client Hello",
	"ech-server-config":                    "Encrypted Client Hello",
	"ech-server-key":                       "Encrypted Client Hello",
	"enable-ech-grease":                    "Encrypted Client Hello",
	"reject-unusable-ech-config":           "Encrypted Client Hello",
	"fail-early-callback-ech-rewind":       "Encrypted Client Hello",
	"expect-no-ech-name-override":          "Encrypted Client Hello",
	"psk":                                  "the PSK suites of TLS 1.2, and psk without (EC)DHE",
	"expect-total-renegotiations":          "renegotiation: it is refused, always",
	"renegotiate-explicit":                 "renegotiation: it is refused, always",
	"forbid-renegotiation-after-handshake": "renegotiation: it is refused, always",
	"use-exporter-between-reads":           "renegotiation: it is refused, always",
	"no-legacy-server-connect":             "renegotiation: its extension is not demanded, as it is never used",
	"read-with-unfinished-write":           "what BoringSSL does with a half-finished SSL_write has no like in Go",
	"peek-then-read":                       "there is no SSL_peek",
	"handshake-never-done":                 "False Start",
	"false-start":                          "False Start (RFC 7918)",
	"allow-false-start-without-alpn":       "False Start (RFC 7918)",
	"new-delegated-credential":             "delegated credentials (RFC 9345)",
	"delegated-credential":                 "delegated credentials (RFC 9345)",
	"use-ticket-callback":                  "the callbacks of OpenSSL's ticket keys; here they are KeyRing, WrapSession and UnwrapSession",
	"use-ticket-aead-callback":             "the callbacks of BoringSSL's ticket keys",
	"ticket-key":                           "the runner would have to know the format of our tickets",
	"retain-only-sha256-client-cert":       "BoringSSL's way to save memory",
	"request-server-padding":               "a draft",
	"server-supports-padding":              "a draft",
	"cert-properties":                      "a draft (trust anchor identifiers)",
	"requested-trust-anchors":              "a draft (trust anchor identifiers)",
	"expect-resumable-across-names":        "flags in tickets and resumption across names: a session is bound to its name",
	"expect-not-resumable-across-names":    "flags in tickets and resumption across names: a session is bound to its name",
	"resumption-across-names-enabled":      "flags in tickets and resumption across names: a session is bound to its name",
	"advertise-npn":                        "NPN, which ALPN has replaced",
	"select-next-proto":                    "NPN, which ALPN has replaced",
	"application-settings":                 "ALPS, a draft that only BoringSSL has",
	"write-different-record-sizes":         "record splitting of TLS 1.0",
	"max-send-fragment":                    "how large records are is not to be set: a record is as large as what is written",
	"permute-extensions":                   "the order of extensions is fixed",
	"enable-grease":                        "clients send no GREASE (RFC 8701)",
	"fallback-scsv":                        "clients do not fall back",
	"server-supported-groups-hint":         "what a server announces in the DNS is for the caller, by Config.KeyShares",
	"no-server-name-ack":                   "a server that reads server_name always acknowledges it",
	"select-empty-alpn":                    "Config has no way to choose an empty protocol name",
	"allow-unknown-alpn-protos":            "a server's choice must be one that was offered (RFC 7301, section 3.1)",
	"early-write-after-message":            "early data ends when the handshake goes on",
	"max-cert-list":                        "the limit of a certificate chain is fixed",
	"expect-certificate-types":             "CertificateRequestInfo has signature schemes, which certificate_types is folded into",
	"cnsa2-202603":                         "ML-KEM-1024 without a curve is not implemented, and this profile has nothing else",
	"cnsa-202407":                          "which suite comes first is not to be set",
	"curves-flags":                         "groups are not preferred equally",
	"expect-no-secure-renegotiation":       "renegotiation: it is refused, always",
	"handshaker-path":                      "split handshakes are BoringSSL's own",
	"cipher":                               "OpenSSL's language of cipher lists, where it is more than names",
}

// ignored are flags that change nothing here, and why a case is run all the same.
// What such a flag expects is not compared.
var ignored = map[string]struct {
	kind kind
	why  string
}{
	"no-tls1":                       {isBool, "there is no TLS 1.0"},
	"no-tls11":                      {isBool, "there is no TLS 1.1"},
	"decline-alpn":                  {isBool, "a server without NextProtos declines"},
	"server-preference":             {isBool, "the server's preference is what decides, always"},
	"enable-ocsp-stapling":          {isBool, "staples are always asked for"},
	"enable-signed-cert-timestamps": {isBool, "SCTs are always asked for"},
	"use-early-callback":            {isBool, "GetConfigForClient is always set"},
	"install-ddos-callback":         {isBool, "GetConfigForClient is that callback, too"},
	"use-old-client-cert-callback":  {isBool, "there is one such callback, GetClientCertificate"},
	"use-ocsp-callback":             {isBool, "what the callback does say decline-ocsp-callback and fail-ocsp-callback"},
	"set-ocsp-in-callback":          {isBool, "GetCertificate returns the staple with the certificate"},
	"trust-cert":                    {isString, "the callback that stands in for verification accepts all, but with -verify-fail"},
	"expect-verify-result":          {isBool, "a handshake that ends well is the result: errors of verification are not kept"},
	"expect-secure-renegotiation":   {isBool, "the extension is sent and checked, and nothing tells of it, as there is no renegotiation"},
	"renegotiate-ignore":            {isBool, "renegotiation is refused: cases in which it must happen are not run"},
	"renegotiate-freely":            {isBool, "renegotiation is refused: cases in which it must happen are not run"},
	"renegotiate-once":              {isBool, "renegotiation is refused: cases in which it must happen are not run"},
	"expect-early-data-reason":      {isString, "BoringSSL's names of reasons; whether early data is accepted is compared"},
	"expect-cipher-no-aes":          {isInt, "for machines without instructions for AES"},
}

// reasonFor returns the reason for a flag that is not implemented, "" if there is
// none.
func reasonFor(flag string) string {
	name, _, _ := strings.Cut(flag, " ")
	return reasons[name]
}
