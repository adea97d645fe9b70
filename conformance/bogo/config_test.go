package bogo

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// lasting is what the connections of one shim share.
type lasting struct {
	sessions tls.ClientSessionCache
	keys     *session.KeyRing
	ids      *session.ServerCache
	replays  *session.AntiReplay
	clock    time.Time // which does not go by itself: the runner knows exact ages of tickets
}

func newLasting() *lasting {
	l := &lasting{clock: time.Now(), sessions: tls.NewLRUClientSessionCache(0), keys: new(session.KeyRing), ids: session.NewServerCache(0, 0), replays: session.NewAntiReplay(0)}
	l.keys.Time, l.ids.Time = l.now, l.now
	return l
}

func (l *lasting) now() time.Time { return l.clock }

// seen is what a connection's callbacks have seen.
type seen struct {
	serverName string
	protocols  []string
	early      bool // the early callback was called
	stored     int  // sessions that a client got
	supports   bool // early data, the last of them
	psks       map[string]int
	conn       *tls.Conn
	retry      *options
	schemes    []tls.SignatureScheme
	cas        [][]byte
	keyLog     bytes.Buffer
	messages   strings.Builder // as BoringSSL's shim lists them
	chosen     int             // credential, as -expect-selected-credential counts
	put        bool            // a session ID's session
}

// trace lists messages.
func (s *seen) trace() *tls.Trace {
	list := func(verb string) func(tls.TracedMessage) {
		return func(m tls.TracedMessage) {
			if m.Type == 21 && len(m.Data) != 2 {
				return // what is no alert ends the connection, too
			}
			switch m.Type {
			case 20:
				fmt.Fprintf(&s.messages, "%s ccs\n", verb)
			case 21:
				fmt.Fprintf(&s.messages, "%s alert %d %d\n", verb, m.Data[0], m.Data[1])
			case 22:
				fmt.Fprintf(&s.messages, "%s hs %d\n", verb, m.Data[0])
			}
		}
	}
	return &tls.Trace{Sent: list("write"), Received: list("read")}
}

// cache counts what a client gets.
type cache struct {
	tls.ClientSessionCache
	seen    *seen
	refresh bool
}

func (c cache) Put(key string, cs *tls.ClientSessionState) {
	if cs != nil {
		c.seen.stored++
		_, state, err := cs.ResumptionState()
		c.seen.supports = err == nil && state.EarlyData
	}
	c.ClientSessionCache.Put(key, cs)
}

// config returns what the options say.
func (o *options) config(l *lasting, s *seen) (*tls.Config, error) {
	c := &tls.Config{
		Time:               l.now,
		TicketKeys:         l.keys,
		InsecureSkipVerify: true,
		ServerName:         o.strings["host-name"],
		MinVersion:         tls.VersionTLS12,

		DynamicRecordSizingDisabled: true,
		MaxVersion:                  tls.VersionTLS13,
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		c.CipherSuites = append(c.CipherSuites, suite.ID)
	}
	if err := o.versions(c); err != nil {
		return nil, err
	}
	for _, id := range o.lists["curves"] {
		c.CurvePreferences = append(c.CurvePreferences, tls.CurveID(id))
	}
	c.SignatureSchemes = defaultSchemes
	if list := o.lists["verify-prefs"]; list != nil {
		c.SignatureSchemes = nil
		for _, id := range list {
			c.SignatureSchemes = append(c.SignatureSchemes, tls.SignatureScheme(id))
		}
	}
	if o.ints["expect-total-renegotiations"] > 0 {
		return nil, unimplemented{"expect-total-renegotiations"}
	}
	if err := o.ciphers(c); err != nil {
		return nil, err
	}
	if err := o.verification(c, s); err != nil {
		return nil, err
	}
	c.Trace = s.trace()
	o.restrict(c)
	o.certificateTypes(c, s)
	o.compression(c)
	if list, ok := o.lists["key-shares"]; ok || o.bools["no-key-shares"] {
		c.KeyShares = []tls.CurveID{}
		for _, id := range list {
			c.KeyShares = append(c.KeyShares, tls.CurveID(id))
		}
	}
	if o.bools["export-traffic-secrets"] {
		c.KeyLogWriter = &s.keyLog
	}
	if o.bools["no-ticket"] {
		c.SessionTicketsDisabled = true
	}
	if err := o.show(c, s); err != nil {
		return nil, err
	}
	if o.bools["server"] {
		return c, o.server(c, l, s)
	}
	c.ClientSessionCache = cache{l.sessions, s, false}
	if v, ok := o.strings["advertise-alpn"]; ok {
		protocols, err := splitProtocols(v)
		if err != nil {
			return nil, err
		}
		c.NextProtos = protocols
	}
	return c, nil
}

func (o *options) versions(c *tls.Config) error {
	if v := o.ints["min-version"]; v > tls.VersionTLS12 {
		c.MinVersion = uint16(v)
	}
	if v := o.ints["max-version"]; v != 0 {
		c.MaxVersion = uint16(v)
	}
	if o.bools["no-tls13"] {
		c.MaxVersion = min(c.MaxVersion, tls.VersionTLS12)
	}
	if o.bools["no-tls12"] {
		c.MinVersion = tls.VersionTLS13
	}
	return nil
}

// verification says what is asked of the peer.
func (o *options) verification(c *tls.Config, s *seen) error {
	switch {
	case o.bools["verify-peer"]:
		c.ClientAuth = tls.RequestClientCert
	case o.bools["require-any-client-certificate"]:
		c.ClientAuth = tls.RequireAnyClientCert
	}
	if o.bools["fail-ocsp-callback"] && !o.bools["server"] {
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if state.DidResume {
				return nil
			}
			return alertBadCertificateStatus
		}
	}
	if !o.mustVerify() {
		return nil
	}
	fails := func() bool {
		if s.conn != nil {
			if e := s.conn.EarlyData(); e.Offered && !e.Accepted && !o.bools["server"] {
				return s.retry.bools["verify-fail"]
			}
		}
		return o.bools["verify-fail"]
	}
	// The alerts are those that BoringSSL's two ways to verify send.
	refusal := tls.AlertError(alertHandshakeFailure)
	if o.bools["use-custom-verify-callback"] {
		refusal = alertUnknownCertificate
	}
	c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
		if fails() {
			return refusal
		}
		return nil
	}
	if o.bools["reverify-on-resume"] {
		c.VerifyConnection = func(tls.ConnectionState) error {
			if fails() {
				return refusal
			}
			return nil
		}
	}
	return nil
}

// defaultSchemes are what BoringSSL verifies with by default: our own default has
// P-521 and Ed25519, too.
var defaultSchemes = []tls.SignatureScheme{
	tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256, tls.PKCS1WithSHA256,
	tls.ECDSAWithP384AndSHA384, tls.PSSWithSHA384, tls.PKCS1WithSHA384,
	tls.PSSWithSHA512, tls.PKCS1WithSHA512,
}

const (
	alertHandshakeFailure   tls.AlertError = 40
	alertUnknownCertificate tls.AlertError = 46
	alertInternalError      tls.AlertError = 80

	alertDecompressionFailure tls.AlertError = 30
	alertBadCertificateStatus tls.AlertError = 113
)

// mustVerify reports whether a certificate that is refused ends the handshake.
func (o *options) mustVerify() bool {
	return o.bools["verify-peer"] || o.bools["require-any-client-certificate"]
}

// server is what servers alone have.
func (o *options) server(c *tls.Config, l *lasting, s *seen) error {
	c.ServerSessionCache = countingIDs{l.ids, s}
	if o.bools["enable-early-data"] {
		c.MaxEarlyData, c.AntiReplay = 14336, l.replays
	}
	if v := o.strings["select-alpn"]; v != "" {
		c.NextProtos = []string{v}
	}
	if o.bools["reject-alpn"] {
		c.NextProtos = []string{"unknown-to-everybody"}
	}
	c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		s.serverName, s.protocols, s.early, s.schemes = h.ServerName, h.SupportedProtos, true, h.SignatureSchemes
		if o.bools["fail-early-callback"] {
			return nil, alertHandshakeFailure
		}
		if o.bools["fail-ddos-callback"] {
			return nil, alertInternalError
		}
		return nil, nil
	}
	var err error
	c.ClientCAs, err = authorities(o.strings["use-client-ca-list"])
	return err
}

// countingIDs notes that a session was put under its ID.
type countingIDs struct {
	*session.ServerCache
	seen *seen
}

func (c countingIDs) Put(ctx context.Context, id []byte, s *session.State) error {
	c.seen.put = true
	return c.ServerCache.Put(ctx, id, s)
}

// show loads what the shim shows of itself. What it chooses is the first that
// fits, by the rules that the product has.
func (o *options) show(c *tls.Config, s *seen) error {
	s.chosen = -1
	var have []shown
	for n := range o.credentials {
		i := (n + 1) % len(o.credentials) // the default one is the last
		switch cred := o.credentials[i]; {
		case cred.kind == "new-psk-credential":
			o.psk(c, cred, i-1, s)
		case cred.chain != "" || cred.kind == "new-rpk-credential":
			cert, err := cred.load()
			if err != nil {
				return err
			}
			have = append(have, shown{cred, cert, i - 1})
		}
	}
	if o.bools["server"] {
		o.showServer(c, s, have)
	} else {
		o.showClient(c, s, have)
	}
	return nil
}

// shown is a certificate that can be shown.
type shown struct {
	*credential
	cert  tls.Certificate
	index int
}

func (o *options) showClient(c *tls.Config, s *seen, have []shown) {
	c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		s.schemes, s.cas = r.SignatureSchemes, r.AcceptableCAs
		if o.bools["fail-cert-callback"] {
			return nil, alertInternalError
		}
		for i := range have {
			request := *r
			if !have[i].mustMatch {
				request.AcceptableCAs = nil
			}
			if have[i].fitsRequest(&request) {
				s.chosen = have[i].index
				return &have[i].cert, nil
			}
		}
		if len(have) > 0 {
			return nil, alertHandshakeFailure
		}
		return new(tls.Certificate), nil
	}
}

func (o *options) showServer(c *tls.Config, s *seen, have []shown) {
	c.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if o.bools["fail-cert-callback"] || o.bools["fail-ocsp-callback"] {
			return nil, alertInternalError
		}
		for i := range have {
			if len(have) == 1 || have[i].fitsHello(h) {
				s.chosen = have[i].index
				return o.stapled(&have[i].cert, h), nil
			}
		}
		return nil, alertHandshakeFailure
	}
}

func (c *credential) load() (tls.Certificate, error) {
	if c.kind == "new-rpk-credential" {
		return c.loadRawKey()
	}
	cert, err := tls.LoadX509KeyPair(c.chain, c.key)
	if err != nil {
		return cert, err
	}
	cert.OCSPStaple = c.ocsp
	if cert.SignedCertificateTimestamps, err = splitSCTs(c.scts); err != nil {
		return cert, err
	}
	for _, p := range c.prefs {
		cert.SupportedSignatureAlgorithms = append(cert.SupportedSignatureAlgorithms, tls.SignatureScheme(p))
	}
	return cert, nil
}

// psk sets an external pre-shared key, to be imported.
func (o *options) psk(c *tls.Config, cred *credential, index int, s *seen) {
	k := tls.ExternalPSK{Identity: cred.pskIdentity, Secret: cred.psk, Context: cred.pskContext, Import: true, Hash: keyschedule.SHA256}
	if cred.pskSHA384 {
		k.Hash = keyschedule.SHA384
	}
	if !o.bools["server"] {
		c.ExternalPSKs = append(c.ExternalPSKs, k)
		c.ExternalPSKOnly = !o.bools["verify-peer"]
		s.psks[string(k.Identity)] = index
		return
	}
	next := c.GetExternalPSK
	c.GetExternalPSK = func(ctx context.Context, identity []byte) (*tls.ExternalPSK, error) {
		if bytes.Equal(identity, k.Identity) {
			s.chosen = index
			return &k, nil
		}
		if next != nil {
			return next(ctx, identity)
		}
		return nil, nil
	}
}

// splitProtocols splits what has a length before each element.
func splitProtocols(v string) (list []string, err error) {
	for len(v) > 0 {
		n := int(v[0])
		if len(v) < 1+n {
			return nil, fmt.Errorf("malformed list of protocols %q", v)
		}
		list, v = append(list, v[1:1+n]), v[1+n:]
	}
	return list, nil
}

// splitSCTs splits a SignedCertificateTimestampList.
func splitSCTs(b []byte) (list [][]byte, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) <= 2 {
		return nil, errors.New("empty list of SCTs")
	}
	b = b[2:]
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+(int(b[0])<<8|int(b[1])) {
			return nil, errors.New("malformed list of SCTs")
		}
		n := 2 + (int(b[0])<<8 | int(b[1]))
		list, b = append(list, b[2:n]), b[n:]
	}
	return list, nil
}

// joinSCTs is the reverse of splitSCTs.
func joinSCTs(list [][]byte) (b []byte) {
	for _, sct := range list {
		b = append(b, byte(len(sct)>>8), byte(len(sct)))
		b = append(b, sct...)
	}
	if b == nil {
		return nil
	}
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}
