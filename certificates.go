package tls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/session"
)

// maxRSABits bounds the RSA keys in a peer's chain: verifying with a larger one
// costs more than a stranger should be able to make us spend.
const maxRSABits = 8192

// serverCertificate chooses a server's certificate (RFC 9846, section 4.5.1.2).
func (b *binding) serverCertificate(ctx context.Context, h *handshake.ClientHelloInfo) (*handshake.Certificate, error) {
	cfg := b.cfg
	if cfg.GetCertificate != nil && (len(cfg.Certificates) == 0 || h.ServerName != "") {
		cert, err := cfg.GetCertificate(b.helloInfo(ctx, h))
		if err != nil {
			return nil, fromCallback(err)
		}
		if cert != nil {
			return engineCertificate(cert)
		}
	}
	switch len(cfg.Certificates) {
	case 0:
		return nil, errNoCertificates
	case 1:
		return engineCertificate(&cfg.Certificates[0])
	}
	if cert := cfg.certificateByName(h.ServerName); cert != nil {
		return engineCertificate(cert)
	}
	return engineCertificate(b.bestCertificate(ctx, h))
}

// certificateByName looks in NameToCertificate, for wildcards too.
func (c *Config) certificateByName(name string) *Certificate {
	name = strings.ToLower(name)
	if cert := c.NameToCertificate[name]; cert != nil {
		return cert
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return c.NameToCertificate["*."+parent]
	}
	return nil
}

// bestCertificate returns the first certificate that fits the ClientHello and
// comes from an authority that it names; or else the first that fits; or else
// the first.
func (b *binding) bestCertificate(ctx context.Context, h *handshake.ClientHelloInfo) *Certificate {
	info := b.helloInfo(ctx, h)
	var second *Certificate
	for i := range b.cfg.Certificates {
		cert := &b.cfg.Certificates[i]
		if !fitsHello(cert, info, h) {
			continue
		}
		if len(h.CertificateAuthorities) == 0 || issuedByOne(cert, h.CertificateAuthorities) {
			return cert
		}
		if second == nil {
			second = cert
		}
	}
	if second == nil {
		second = &b.cfg.Certificates[0]
	}
	return second
}

// issuedByOne reports whether one of the authorities, in DER, signed a
// certificate of the chain.
func issuedByOne(cert *Certificate, authorities [][]byte) bool {
	for _, der := range cert.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return false
		}
		for _, ca := range authorities {
			if bytes.Equal(parsed.RawIssuer, ca) {
				return true
			}
		}
	}
	return false
}

// clientCertificate answers a CertificateRequest (RFC 9846, section 4.5.1.2).
func (b *binding) clientCertificate(ctx context.Context, r *handshake.CertificateRequestInfo) (*handshake.Certificate, error) {
	info := &CertificateRequestInfo{
		AcceptableCAs:    r.AcceptableCAs,
		SignatureSchemes: convert[SignatureScheme](r.SignatureSchemes),
		Version:          r.Version,
	}
	requestContext.set(info, context.WithValue(ctx, requestKey{}, r))
	if b.cfg.GetClientCertificate != nil {
		cert, err := b.cfg.GetClientCertificate(info)
		if err != nil {
			return nil, fromCallback(err)
		}
		return engineCertificate(cert)
	}
	for i := range b.cfg.Certificates {
		if cert := &b.cfg.Certificates[i]; fitsRequest(cert, info, r) {
			return engineCertificate(cert)
		}
	}
	return nil, nil
}

// fitsRequest reports whether cert is what a CertificateRequest asks for.
func fitsRequest(cert *Certificate, info *CertificateRequestInfo, r *handshake.CertificateRequestInfo) bool {
	if isRawKey(cert) {
		c, err := engineCertificate(cert)
		return err == nil && c.FitsRequest(r)
	}
	return r.CertificateType == CertificateTypeX509 && info.SupportsCertificate(cert) == nil
}

// fitsHello reports whether cert is what the client of a ClientHello can use.
func fitsHello(cert *Certificate, info *ClientHelloInfo, h *handshake.ClientHelloInfo) bool {
	if isRawKey(cert) {
		c, err := engineCertificate(cert)
		return err == nil && c.FitsHello(h)
	}
	return slices.Contains(h.ServerCertificateTypes, CertificateTypeX509) && info.SupportsCertificate(cert) == nil
}

// engineCertificate translates a certificate. None, or one without a chain, is
// nil.
func engineCertificate(cert *Certificate) (*handshake.Certificate, error) {
	if cert == nil || len(cert.Certificate) == 0 {
		return nil, nil
	}
	signer, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fromCallback(errNotSigner)
	}
	c := &handshake.Certificate{
		Chain:            cert.Certificate,
		PrivateKey:       signer,
		SignatureSchemes: convert[handshake.SignatureScheme](cert.SupportedSignatureAlgorithms),
	}
	if isRawKey(cert) {
		c.Type = CertificateTypeRawPublicKey
		return c, nil
	}
	leaf, err := leafOf(cert)
	if err != nil {
		return nil, fromCallback(fmt.Errorf("tls: parsing our own certificate: %w", err))
	}
	c.Leaf, c.OCSPStaple, c.SCTs = leaf, cert.OCSPStaple, cert.SignedCertificateTimestamps
	return c, nil
}

// leafOf returns the parsed leaf of a certificate.
func leafOf(cert *Certificate) (*x509.Certificate, error) {
	if cert.Leaf != nil {
		return cert.Leaf, nil
	}
	if len(cert.Certificate) == 0 {
		return nil, errNoCertificates
	}
	return x509.ParseCertificate(cert.Certificate[0])
}

// verifyPeer judges the peer's certificates.
func (b *binding) verifyPeer(p *handshake.PeerCertificates) ([][]*x509.Certificate, error) {
	if len(p.Chain) == 0 {
		return nil, b.verifyRawKey(p.Key)
	}
	for _, cert := range p.Chain {
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSABits {
			return nil, alert.Errorf(alert.BadCertificate, "peer sent a certificate with an RSA key larger than %d bits", maxRSABits)
		}
	}
	chains, err := b.verifyChain(p.Chain)
	if err != nil {
		return nil, chainRefused(p.Chain, err)
	}
	if b.cfg.VerifyPeerCertificate == nil {
		return chains, nil
	}
	raw := make([][]byte, len(p.Chain))
	for i, cert := range p.Chain {
		raw[i] = cert.Raw
	}
	return chains, fromCallback(b.cfg.VerifyPeerCertificate(raw, chains))
}

// chainRefused is what the application gets for a chain that err says is not good.
// To crypto/x509 a signature with MD5 or SHA-1 is no signature, so that the authority is
// unknown; RFC 9846 wants bad_certificate (section 4.5.1.3).
func chainRefused(chain []*x509.Certificate, err error) error {
	refused := fromCallback(&CertificateVerificationError{UnverifiedCertificates: chain, Err: err})
	if slices.ContainsFunc(chain, signedWeakly) {
		return alert.Wrap(alert.BadCertificate, refused)
	}
	return refused
}

// signedWeakly does not count signatures of authorities on themselves, which
// nobody needs to verify.
func signedWeakly(cert *x509.Certificate) bool {
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		return !bytes.Equal(cert.RawIssuer, cert.RawSubject)
	}
	return false
}

// verifyChain verifies a peer's chain as the role and the Config demand. It
// returns nil, without an error, where they demand nothing.
func (b *binding) verifyChain(certs []*x509.Certificate) ([][]*x509.Certificate, error) {
	cfg := b.cfg
	opts := x509.VerifyOptions{CurrentTime: cfg.time()}
	switch {
	case b.conn.role == roleClient && cfg.InsecureSkipVerify,
		b.conn.role == roleServer && cfg.ClientAuth < VerifyClientCertIfGiven:
		return nil, nil
	case b.conn.role == roleClient:
		opts.Roots, opts.DNSName = cfg.RootCAs, cfg.ServerName
	default:
		opts.Roots, opts.KeyUsages = cfg.ClientCAs, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if len(certs) > 1 {
		opts.Intermediates = x509.NewCertPool()
	}
	for _, cert := range certs[1:] {
		opts.Intermediates.AddCert(cert)
	}
	return certs[0].Verify(opts)
}

// verifyResumed judges what a session remembers of the peer as if it had just
// come: roots, names and time may have changed since.
func (b *binding) verifyResumed(s *session.State) ([][]*x509.Certificate, error) {
	if s.PeerRawKey != nil {
		return nil, b.verifyResumedKey(s.PeerRawKey)
	}
	certs, err := s.PeerCertificates()
	if len(certs) == 0 || err != nil {
		return nil, err
	}
	if b.cfg.time().After(certs[0].NotAfter) {
		return nil, &CertificateVerificationError{
			UnverifiedCertificates: certs,
			Err:                    x509.CertificateInvalidError{Cert: certs[0], Reason: x509.Expired},
		}
	}
	return b.verifyChain(certs)
}

// stillGood returns those of the chains that were verified when the session s
// began that would be verified now: name and time may be others. The
// signatures within a chain are not. Another pool of roots may hold the same ones with
// constraints on their chains, which only a verification asks.
func (b *binding) stillGood(s *session.State) [][]*x509.Certificate {
	if b.cfg.InsecureSkipVerify || len(s.PeerChain) == 0 || s.VerifiedRoots != b.cfg.RootCAs {
		return nil
	}
	bad := func(chain []*x509.Certificate) bool {
		return len(chain) == 0 || !bytes.Equal(chain[0].Raw, s.PeerChain[0]) || !inTime(chain, b.cfg.time()) || !b.vouches(chain)
	}
	if !slices.ContainsFunc(s.VerifiedChains, bad) {
		return s.VerifiedChains
	}
	if good := slices.DeleteFunc(slices.Clone(s.VerifiedChains), bad); len(good) > 0 {
		return good
	}
	return nil
}

func inTime(chain []*x509.Certificate, now time.Time) bool {
	return !slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return now.Before(c.NotBefore) || now.After(c.NotAfter) })
}

// vouched is a chain's ends that were found to be what a Config demands.
type vouched struct {
	name       string
	pool       *x509.CertPool
	leaf, root *x509.Certificate
}

// vouches reports whether a chain is for the server's name and ends in one of the
// roots. To verify such a one takes no more than to find it; a root that others vouch
// for is none, as the chain was not verified up to them.
func (b *binding) vouches(chain []*x509.Certificate) bool {
	leaf, root := chain[0], chain[len(chain)-1]
	last := b.cfg.vouched.Load()
	if last != nil && last.leaf == leaf && last.root == root && last.pool == b.cfg.RootCAs && last.name == b.cfg.ServerName {
		return true
	}
	if leaf.VerifyHostname(b.cfg.ServerName) != nil {
		return false
	}
	found, err := root.Verify(x509.VerifyOptions{
		Roots:       b.cfg.RootCAs,
		CurrentTime: b.cfg.time(),
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil || !slices.ContainsFunc(found, func(c []*x509.Certificate) bool { return len(c) == 1 }) {
		return false
	}
	b.cfg.vouched.Store(&vouched{b.cfg.ServerName, b.cfg.RootCAs, leaf, root})
	return true
}
