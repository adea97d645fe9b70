// Package tls speaks TLS 1.3 (RFC 9846) and TLS 1.2 (RFC 5246), and can give
// away the keys of a connection.
//
// It has the API of crypto/tls: programs change the import path and go on. A
// [Conn] does what crypto/tls's does, and besides
//
//   - changes keys, by [Conn.KeyUpdate] and by itself before a key is used up;
//   - hands out both directions' keys with their record numbers, by
//     [Conn.ExportKeys], to a record layer elsewhere;
//   - gives either direction's keys to the kernel, where it has TLS, as
//     Config.Kernel says, and says by [Conn.Offload] what protects its records;
//   - sends and receives files and streams by [Conn.ReadFrom] and
//     [Conn.WriteTo], without a detour through the program where the kernel has
//     the keys;
//   - moves to another process, by [Conn.Detach] and [Adopt].
//
// # Differences from crypto/tls
//
// Versions before TLS 1.2, static RSA key exchange, RC4, 3DES and CBC with
// SHA-256 do not exist. The other CBC suites are off unless CipherSuites names
// them. A MinVersion below TLS 1.2 means TLS 1.2, unknown suites are passed
// over, and where nothing is left to negotiate the handshake fails with a
// [ConfigError] before anything is sent.
//
// Renegotiation does not exist. Encrypted Client Hello and the QUIC API are not
// there yet: a Config that asks for the former is refused with a [ConfigError],
// and is never used as if it had not.
//
// errors.As finds an [AlertError] in errors of this side, too: it is the alert
// that the peer was sent. One that the peer sent is within a *net.OpError.
//
// A connection that ends without close_notify ends with io.ErrUnexpectedEOF,
// where crypto/tls reports io.EOF if a record ended there: an attacker can cut
// a connection at a record.
//
// A TLS 1.3 session is used for one connection only, so that nobody can link
// two by their ticket (RFC 9846, appendix C.4).
//
// After [Conn.Close] no keying material can be exported: it is wiped.
//
// Where types of net/http or other packages demand a crypto/tls Config, use
// [FromStd] to bring one here.
//
// # Secrets
//
// Values that hold keys ([Config], [Conn], [SessionState], [ClientSessionState],
// [ExportedKeys]) print as one fixed word by fmt, encoding/json and log/slog.
package tls
