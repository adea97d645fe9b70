package tls

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// guard keeps what embeds it from printing.
type guard = redact.Value

// Config says how clients and servers shall behave. It has all fields of
// crypto/tls's Config, with the same meaning unless said otherwise, and some
// more at the end. After it was used for a connection it must not change; it
// may be used for any number of them. An error of a callback ends the
// handshake; if it is an [AlertError], that is what the peer is sent.
type Config struct {
	guard

	// Rand is the source of randomness; nil means crypto/rand. It must be safe
	// for concurrent use.
	Rand io.Reader
	// Time returns the current time; nil means time.Now.
	Time func() time.Time

	// Certificates are what this side can show, leaf first in each. A server
	// takes the first one that fits the ClientHello: by server name, signature
	// schemes and, where one does, the authorities that the client names. A
	// client takes the first one that fits the CertificateRequest.
	Certificates []Certificate
	// NameToCertificate maps server names, also of the form *.example.com, to
	// Certificates.
	//
	// Deprecated: leave it nil; Certificates are searched by name anyway.
	NameToCertificate map[string]*Certificate
	// GetCertificate chooses a server's certificate. It is called if the client
	// sends a server name or Certificates is empty. If it returns nil,
	// Certificates are searched.
	GetCertificate func(*ClientHelloInfo) (*Certificate, error)
	// GetClientCertificate chooses a client's certificate, instead of
	// Certificates. An empty one means none.
	GetClientCertificate func(*CertificateRequestInfo) (*Certificate, error)
	// GetConfigForClient lets a server choose another Config once it has seen
	// the ClientHello; nil means this one. If the other one has no session
	// ticket keys set explicitly, this one's are used.
	GetConfigForClient func(*ClientHelloInfo) (*Config, error)

	// VerifyPeerCertificate is called after a peer's certificate was verified,
	// or would have been but for InsecureSkipVerify or ClientAuth: then there
	// are no chains. It is not called when a session is resumed.
	VerifyPeerCertificate func(rawCerts [][]byte, verifiedChains [][]*x509.Certificate) error
	// VerifyConnection is called at the end of every handshake, before it
	// counts as complete, resumed or not. A server that accepts early data calls
	// it before any comes.
	VerifyConnection func(ConnectionState) error

	// RootCAs are what a client trusts; nil means the system's roots.
	RootCAs *x509.CertPool
	// NextProtos are the application protocols, in order of preference
	// (RFC 7301).
	NextProtos []string
	// ServerName is what a client expects in the certificate, and sends unless
	// it is an IP address.
	ServerName string
	// ClientAuth is what a server demands of clients.
	ClientAuth ClientAuthType
	// ClientCAs are what a server trusts to sign client certificates.
	ClientCAs *x509.CertPool
	// InsecureSkipVerify accepts any certificate for any name. Whoever sits
	// between client and server can then read and change everything, unless
	// VerifyConnection or VerifyPeerCertificate prevents it.
	InsecureSkipVerify bool

	// CipherSuites names the TLS 1.2 suites that are enabled; nil means a safe
	// default, without CBC. Those of TLS 1.3 are all enabled, unless some are
	// named: then only those. The order does not matter.
	CipherSuites []uint16
	// PreferServerCipherSuites has no effect.
	//
	// Deprecated: servers choose by what their hardware is good at, and ChaCha20 for
	// clients that list it first, which have no hardware for AES.
	PreferServerCipherSuites bool

	// SessionTicketsDisabled turns resumption off.
	SessionTicketsDisabled bool
	// SessionTicketKey, if it is not zero, is the key of a server's tickets.
	//
	// Deprecated: leave it zero to have keys made and rotated, or use
	// SetSessionTicketKeys.
	SessionTicketKey [32]byte
	// ClientSessionCache keeps a client's sessions; nil turns resumption off.
	ClientSessionCache ClientSessionCache
	// UnwrapSession turns what WrapSession made back into a session, or
	// returns nil to go on without. An error ends the connection.
	UnwrapSession func(identity []byte, cs ConnectionState) (*SessionState, error)
	// WrapSession turns a session into a ticket, on a server. What it returns
	// goes over the network as it is: it must be sealed, or be a handle that
	// nobody can guess. An error ends the connection.
	WrapSession func(ConnectionState, *SessionState) ([]byte, error)

	// MinVersion and MaxVersion bound the protocol version; 0 means TLS 1.2 and
	// TLS 1.3. There is nothing below TLS 1.2.
	MinVersion uint16
	MaxVersion uint16
	// CurvePreferences names the key exchange groups that are enabled; nil
	// means all but X448. The order does not matter: hybrids come first, then
	// X25519 and the NIST curves.
	CurvePreferences []CurveID
	// KeyShares names the groups that a client sends key shares for at once, those
	// of them that are enabled (RFC 9846, section 4.3.8). Nil means the preferred one,
	// and with a hybrid the first other; an empty list lets the server choose,
	// which costs a round trip, as does a server that has better among
	// CurvePreferences: ours asks for a hybrid.
	KeyShares []CurveID
	// DynamicRecordSizingDisabled makes all records as large as possible.
	// Otherwise a connection begins with small ones, which arrive whole in one
	// packet, and lets them grow.
	DynamicRecordSizingDisabled bool
	// Renegotiation must be RenegotiateNever.
	Renegotiation RenegotiationSupport
	// KeyLogWriter gets the secrets of all connections in the NSS key log
	// format, for debugging with tools that read it. Whoever reads it can
	// decrypt the connections.
	KeyLogWriter io.Writer

	// The fields of Encrypted Client Hello exist so that programs compile.
	// Handshakes fail with a [ConfigError] if they are set.
	EncryptedClientHelloConfigList      []byte
	EncryptedClientHelloRejectionVerify func(ConnectionState) error
	GetEncryptedClientHelloKeys         func(*ClientHelloInfo) ([]EncryptedClientHelloKey, error)
	EncryptedClientHelloKeys            []EncryptedClientHelloKey

	// What follows is not in crypto/tls.

	// ServerSessionCache remembers TLS 1.2 sessions by session ID (RFC 5246,
	// section 7.3) for clients without tickets; nil turns that off. See
	// session.NewServerCache.
	ServerSessionCache ServerSessionCache
	// TicketKeys are the keys of a server's tickets, for several servers that
	// resume each other's sessions: rings with one session.RingSource have the
	// same keys, and rotate as one. Nil means keys that this Config makes and
	// rotates. It comes before SessionTicketKey and after SetSessionTicketKeys.
	TicketKeys *session.KeyRing
	// ServerSessions keeps a server's sessions of both versions in a store, for
	// one process or for a fleet: clients get handles instead of tickets that
	// hold the session. It excludes WrapSession, UnwrapSession and
	// ServerSessionCache. Nil means sealed tickets.
	ServerSessions *session.Stateful
	// MaxEarlyData is how many bytes of early data a server's tickets allow
	// (RFC 9846, section 2.3); 0 means none. Clients may then send them, and
	// Conn.ReadEarlyData may accept them, with tickets that allow no more than
	// this. It bounds what one connection may keep in memory, too.
	MaxEarlyData uint32
	// AntiReplay sees to it that a server accepts the same early data once. Nil
	// means one in memory, and is for tickets whose keys this Config makes and
	// rotates; where others can open or make the same tickets, it must be set, and
	// its store be shared with them.
	AntiReplay *session.AntiReplay
	// SessionTicketCount is how many tickets a TLS 1.3 server sends after the
	// handshake; 0 means one.
	SessionTicketCount int

	// ExternalPSKs are a client's pre-shared keys in order of preference
	// (RFC 9846, section 2.2; RFC 9258).
	ExternalPSKs []ExternalPSK
	// GetExternalPSK looks up a pre-shared key on a server by the identity that
	// the client sent; nil, or a nil key, means it is not known. A client that
	// holds a key is authenticated by it: ClientAuth does not ask it for a
	// certificate.
	GetExternalPSK func(ctx context.Context, identity []byte) (*ExternalPSK, error)
	// ExternalPSKOnly refuses peers that would authenticate by certificate.
	ExternalPSKOnly bool

	// SignatureSchemes are what is accepted from peers, in order of preference
	// (RFC 9846, section 4.3.3); nil means all that are implemented, but SHA-1.
	// What this side signs with says Certificate.SupportedSignatureAlgorithms.
	SignatureSchemes []SignatureScheme
	// CertificateTypes are what a client can show if its server asks for a
	// certificate, in order of preference (RFC 7250). Nil means those of
	// Certificates, and X.509 only with GetClientCertificate; see [NewRawPublicKey].
	// A server that asks for another type, X.509 if it does not know others, gets none.
	CertificateTypes []CertificateType
	// PeerCertificateTypes are what is accepted from peers, in order of
	// preference; nil means X.509 only. With raw public keys in it
	// VerifyPeerPublicKey must be set, unless what peers show is not verified. A
	// server with raw public keys alone, and a ClientAuth, refuses clients that cannot
	// show any, if only because they do not know of them; a client needs no
	// ServerName then.
	PeerCertificateTypes []CertificateType
	// VerifyPeerPublicKey judges the raw public key of a peer, also of one whose
	// session is resumed, and whatever InsecureSkipVerify says; it is not called for
	// certificates. VerifyPeerCertificate is not called for raw public keys, and
	// ConnectionState has no certificates then: see Conn.Details.
	VerifyPeerPublicKey func(key crypto.PublicKey) error
	// CertificateCompressors offers and uses compressed certificates (RFC 8879)
	// with these algorithms, in order of preference.
	CertificateCompressors []CertificateCompressor
	// CompressCertificates adds zlib to them, which needs nothing but the standard
	// library.
	CompressCertificates bool
	// Trace sees handshake messages, alerts and ChangeCipherSpecs, for debugging;
	// nil for none. Concurrent connections call it, and the two directions of one: for a
	// Trace of one connection, give that a Clone. That of a Config from
	// GetConfigForClient has no effect.
	Trace *Trace
	// RecordPadding says how much padding to add to a TLS 1.3 record with so
	// many bytes of content (RFC 9846, section 5.4); nil means none. It is
	// called by concurrent connections.
	RecordPadding func(contentLen int) int
	// Provider makes the ephemeral keys of the key exchange; nil means
	// handshake.DefaultProvider.
	Provider handshake.Provider
	// Kernel says which directions of a connection over TCP the kernel takes
	// over, and when. By default it sends, from the first ReadFrom on that pays
	// for the move (see [kernel.Policy]), and does not receive. Conn.Offload says what became of it.
	Kernel kernel.Policy

	made    atomic.Pointer[engineLists] // what lists has returned last
	vouched atomic.Pointer[vouched]     // what vouches has found last

	mutex       sync.RWMutex        // protects the three below
	setKeys     *session.KeyRing    // keys that were set, nil for none
	rotating    *session.KeyRing    // keys that are made and rotated here
	replays     *session.AntiReplay // of tickets under the latter
	recordLimit uint64              // for tests: lowers the limit of every key
}

// ExternalPSK is a pre-shared key that was agreed on outside of TLS (RFC 9846,
// section 2.2).
type ExternalPSK = handshake.ExternalPSK

// CertificateCompressor is an algorithm for compressed certificates (RFC 8879).
type CertificateCompressor = handshake.CertificateCompressor

// Trace sees what goes over a connection beside application data: its functions
// Sent and Received get a [TracedMessage] each.
type Trace = handshake.Trace

// TracedMessage is what a [Trace] is shown: the Type of a record (22 for a handshake
// message, 21 for an alert, 20 for a ChangeCipherSpec), and its Data.
type TracedMessage = handshake.TracedMessage

// ServerSessionCache is what Config.ServerSessionCache needs.
type ServerSessionCache = handshake.SessionIDs

// Clone returns a copy of c, or nil if c is nil. It is safe while c is in use.
// Both share ticket keys if there are some already: sessions of the one can
// then be resumed with the other, for which VerifyPeerCertificate is not called.
func (c *Config) Clone() *Config {
	if c == nil {
		return nil
	}
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	return &Config{
		Rand:                                c.Rand,
		Time:                                c.Time,
		Certificates:                        c.Certificates,
		NameToCertificate:                   c.NameToCertificate,
		GetCertificate:                      c.GetCertificate,
		GetClientCertificate:                c.GetClientCertificate,
		GetConfigForClient:                  c.GetConfigForClient,
		VerifyPeerCertificate:               c.VerifyPeerCertificate,
		VerifyConnection:                    c.VerifyConnection,
		RootCAs:                             c.RootCAs,
		NextProtos:                          c.NextProtos,
		ServerName:                          c.ServerName,
		ClientAuth:                          c.ClientAuth,
		ClientCAs:                           c.ClientCAs,
		InsecureSkipVerify:                  c.InsecureSkipVerify,
		CipherSuites:                        c.CipherSuites,
		PreferServerCipherSuites:            c.PreferServerCipherSuites,
		SessionTicketsDisabled:              c.SessionTicketsDisabled,
		SessionTicketKey:                    c.SessionTicketKey,
		ClientSessionCache:                  c.ClientSessionCache,
		UnwrapSession:                       c.UnwrapSession,
		WrapSession:                         c.WrapSession,
		MinVersion:                          c.MinVersion,
		MaxVersion:                          c.MaxVersion,
		CurvePreferences:                    c.CurvePreferences,
		KeyShares:                           c.KeyShares,
		DynamicRecordSizingDisabled:         c.DynamicRecordSizingDisabled,
		Renegotiation:                       c.Renegotiation,
		KeyLogWriter:                        c.KeyLogWriter,
		EncryptedClientHelloConfigList:      c.EncryptedClientHelloConfigList,
		EncryptedClientHelloRejectionVerify: c.EncryptedClientHelloRejectionVerify,
		GetEncryptedClientHelloKeys:         c.GetEncryptedClientHelloKeys,
		EncryptedClientHelloKeys:            c.EncryptedClientHelloKeys,
		ServerSessionCache:                  c.ServerSessionCache,
		TicketKeys:                          c.TicketKeys,
		ServerSessions:                      c.ServerSessions,
		MaxEarlyData:                        c.MaxEarlyData,
		AntiReplay:                          c.AntiReplay,
		SessionTicketCount:                  c.SessionTicketCount,
		ExternalPSKs:                        c.ExternalPSKs,
		GetExternalPSK:                      c.GetExternalPSK,
		ExternalPSKOnly:                     c.ExternalPSKOnly,
		SignatureSchemes:                    c.SignatureSchemes,
		CertificateTypes:                    c.CertificateTypes,
		PeerCertificateTypes:                c.PeerCertificateTypes,
		VerifyPeerPublicKey:                 c.VerifyPeerPublicKey,
		CertificateCompressors:              c.CertificateCompressors,
		CompressCertificates:                c.CompressCertificates,
		Trace:                               c.Trace,
		RecordPadding:                       c.RecordPadding,
		Provider:                            c.Provider,
		Kernel:                              c.Kernel,
		setKeys:                             c.setKeys,
		rotating:                            c.rotating,
		replays:                             c.replays,
		recordLimit:                         c.recordLimit,
	}
}

// BuildNameToCertificate fills NameToCertificate from the names in
// Certificates.
//
// Deprecated: leave NameToCertificate nil; Certificates are searched anyway.
func (c *Config) BuildNameToCertificate() {
	c.NameToCertificate = make(map[string]*Certificate)
	for i := range c.Certificates {
		cert := &c.Certificates[i]
		leaf, err := leafOf(cert)
		if err != nil {
			continue
		}
		if leaf.Subject.CommonName != "" && len(leaf.DNSNames) == 0 {
			c.NameToCertificate[leaf.Subject.CommonName] = cert
		}
		for _, name := range leaf.DNSNames {
			c.NameToCertificate[name] = cert
		}
	}
}

func (c *Config) rand() io.Reader {
	if c.Rand != nil {
		return c.Rand
	}
	return rand.Reader
}

func (c *Config) time() time.Time {
	if c.Time != nil {
		return c.Time()
	}
	return time.Now()
}

// check refuses what no handshake could honour. Fields of the other role do
// not matter, as in crypto/tls.
func (c *Config) check(r role) error {
	if err := c.checkRenegotiation(); err != nil {
		return err
	}
	if err := checkPolicy(&c.Kernel); err != nil {
		return err
	}
	switch {
	case c.MaxVersion != 0 && (c.MaxVersion < VersionTLS12 || c.MaxVersion < c.MinVersion), c.MinVersion > VersionTLS13:
		return &ConfigError{"MaxVersion", "no supported version satisfies MinVersion and MaxVersion"}
	case len(c.lists().groups) == 0:
		return &ConfigError{"CurvePreferences", "none of the key exchange groups is supported"}
	case len(c.lists().suites) == 0:
		return &ConfigError{"CipherSuites", "none of the cipher suites is supported in the versions allowed"}
	}
	for _, p := range c.NextProtos {
		if len(p) == 0 || len(p) > 255 {
			return &ConfigError{"NextProtos", fmt.Sprintf("invalid protocol name %q", p)}
		}
	}
	if r == roleClient {
		return cmp.Or(c.checkClient(), c.checkRawKeys(!c.InsecureSkipVerify), checkTypes("CertificateTypes", c.CertificateTypes))
	}
	return cmp.Or(c.checkServer(), c.checkRawKeys(c.ClientAuth >= VerifyClientCertIfGiven))
}

// checkRawKeys refuses raw public keys that nobody could verify, and what is
// neither that nor a certificate.
func (c *Config) checkRawKeys(verifies bool) error {
	if err := checkTypes("PeerCertificateTypes", c.PeerCertificateTypes); err != nil {
		return err
	}
	if verifies && c.VerifyPeerPublicKey == nil && slices.Contains(c.PeerCertificateTypes, CertificateTypeRawPublicKey) {
		return &ConfigError{"VerifyPeerPublicKey", "raw public keys are accepted, and nothing verifies them"}
	}
	return nil
}

func checkTypes(field string, list []CertificateType) error {
	for i, t := range list {
		if t != CertificateTypeX509 && t != CertificateTypeRawPublicKey || slices.Contains(list[:i], t) {
			return &ConfigError{field, fmt.Sprintf("%v is unknown, or there twice", t)}
		}
	}
	return nil
}

func (c *Config) checkClient() error {
	onlyRaw := slices.Equal(c.PeerCertificateTypes, []CertificateType{CertificateTypeRawPublicKey})
	if c.ServerName == "" && !c.InsecureSkipVerify && !c.ExternalPSKOnly && !onlyRaw {
		return &ConfigError{"ServerName", "either ServerName or InsecureSkipVerify must be specified in the tls.Config"}
	}
	return c.checkClientECH()
}

func (c *Config) checkRenegotiation() error {
	if c.Renegotiation != RenegotiateNever {
		return &ConfigError{"Renegotiation", "renegotiation is not supported"}
	}
	return nil
}

func (c *Config) checkClientECH() error {
	switch {
	case c.EncryptedClientHelloConfigList != nil:
		return &ConfigError{"EncryptedClientHelloConfigList", "Encrypted Client Hello is not supported"}
	case c.EncryptedClientHelloRejectionVerify != nil:
		return &ConfigError{"EncryptedClientHelloRejectionVerify", "Encrypted Client Hello is not supported"}
	}
	return nil
}

func (c *Config) checkServer() error {
	switch {
	case c.EncryptedClientHelloKeys != nil:
		return &ConfigError{"EncryptedClientHelloKeys", "Encrypted Client Hello is not supported"}
	case c.GetEncryptedClientHelloKeys != nil:
		return &ConfigError{"GetEncryptedClientHelloKeys", "Encrypted Client Hello is not supported"}
	}
	return c.checkServerSessions()
}

func (c *Config) checkServerSessions() error {
	switch {
	case c.AntiReplay != nil && c.AntiReplay.Store == nil:
		return &ConfigError{"AntiReplay", "there is no Store"}
	case c.ServerSessions == nil:
		return nil
	case c.ServerSessions.Store == nil:
		return &ConfigError{"ServerSessions", "there is no Store"}
	case c.WrapSession != nil, c.UnwrapSession != nil, c.ServerSessionCache != nil:
		return &ConfigError{"ServerSessions", "WrapSession, UnwrapSession and ServerSessionCache are for other servers"}
	}
	return nil
}

// engineLists are the lists of a Config as its engines take them, with what they were
// made of.
type engineLists struct {
	minVersion, maxVersion uint16
	cipherSuites           []uint16
	curvePreferences       []CurveID
	signatureSchemes       []SignatureScheme

	suites  []uint16
	groups  []handshake.NamedGroup
	schemes []handshake.SignatureScheme
}

// lists makes the lists that engines need, unless they are there: they are the same
// for all connections as long as nobody changes the Config.
func (c *Config) lists() *engineLists {
	if l := c.made.Load(); l != nil && l.of(c) {
		return l
	}
	l := &engineLists{
		minVersion:       c.MinVersion,
		maxVersion:       c.MaxVersion,
		cipherSuites:     slices.Clone(c.CipherSuites),
		curvePreferences: slices.Clone(c.CurvePreferences),
		signatureSchemes: slices.Clone(c.SignatureSchemes),
		suites:           c.cipherSuites(),
		groups:           c.groups(),
		schemes:          convert[handshake.SignatureScheme](c.SignatureSchemes),
	}
	c.made.Store(l)
	return l
}

// of reports whether the lists are those of c as it is.
func (l *engineLists) of(c *Config) bool {
	return l.minVersion == c.MinVersion && l.maxVersion == c.MaxVersion &&
		(l.cipherSuites == nil) == (c.CipherSuites == nil) && slices.Equal(l.cipherSuites, c.CipherSuites) &&
		slices.Equal(l.curvePreferences, c.CurvePreferences) &&
		(l.signatureSchemes == nil) == (c.SignatureSchemes == nil) && slices.Equal(l.signatureSchemes, c.SignatureSchemes)
}

// cipherSuites lists what is enabled of both versions, in our order of
// preference.
func (c *Config) cipherSuites() []uint16 {
	defaults := handshake.DefaultCipherSuites()
	list := slices.DeleteFunc(withCBC(defaults), func(id uint16) bool {
		s := keyschedule.SuiteByID(id)
		switch {
		case s == nil || !c.allowsVersion(s.Version):
			return true
		case s.Version == VersionTLS13 && !slices.ContainsFunc(c.CipherSuites, isTLS13):
			return false
		case c.CipherSuites == nil:
			return !slices.Contains(defaults, id)
		}
		return !slices.Contains(c.CipherSuites, id)
	})
	return list
}

func isTLS13(id uint16) bool {
	s := keyschedule.SuiteByID(id)
	return s != nil && s.Version == VersionTLS13
}

// withCBC adds the suites that are never on by default, behind the others.
func withCBC(list []uint16) []uint16 {
	list = slices.Clone(list)
	for _, s := range keyschedule.Suites() {
		if !slices.Contains(list, s.ID) {
			list = append(list, s.ID)
		}
	}
	return list
}

func (c *Config) allowsVersion(v uint16) bool {
	return v >= c.MinVersion && (c.MaxVersion == 0 || v <= c.MaxVersion)
}

// groups lists the key exchange groups that are enabled, in our order of
// preference.
func (c *Config) groups() []handshake.NamedGroup {
	list := slices.Clone(handshake.DefaultGroups())
	if len(c.CurvePreferences) == 0 {
		return list
	}
	return slices.DeleteFunc(append(list, handshake.X448), func(g handshake.NamedGroup) bool {
		return !slices.Contains(c.CurvePreferences, CurveID(g))
	})
}

// forStd returns as much of c as crypto/tls's SupportsCertificate looks at.
func (c *Config) forStd() *tls.Config {
	return &tls.Config{
		MinVersion:       max(c.MinVersion, VersionTLS12),
		MaxVersion:       c.MaxVersion,
		CipherSuites:     c.cipherSuites(),
		CurvePreferences: c.CurvePreferences,
	}
}

// sniHost returns what to send in server_name for a name: nothing for IP
// addresses (RFC 6066, section 3), and no trailing dot.
func sniHost(name string) string {
	host := name
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if mayBeAddress(host) {
		if _, err := netip.ParseAddr(host); err == nil {
			return ""
		}
	}
	return strings.TrimRight(name, ".")
}

// mayBeAddress reports whether parsing host as an IP address is worth the error
// that mostly comes of it: it ends in a digit or has a colon.
func mayBeAddress(host string) bool {
	return host != "" && '0' <= host[len(host)-1] && host[len(host)-1] <= '9' || strings.Contains(host, ":")
}

// keyLogMutex serves all key logs: they are for debugging, and one writer may
// serve several Configs.
var keyLogMutex sync.Mutex

// keyLog returns the engine's view of KeyLogWriter, nil for none. What goes
// wrong with writing does not concern the connection.
func (c *Config) keyLog() func(label string, clientRandom, secret []byte) {
	if c.KeyLogWriter == nil {
		return nil
	}
	return func(label string, clientRandom, secret []byte) {
		line := fmt.Appendf(nil, "%s %x %x\n", label, clientRandom, secret)
		keyLogMutex.Lock()
		defer keyLogMutex.Unlock()
		_, _ = c.KeyLogWriter.Write(line)
	}
}
