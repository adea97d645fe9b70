package handshake

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// hash returns the hash that the PSK is bound to.
func (p *ExternalPSK) hash() keyschedule.Hash {
	if p.Hash == 0 {
		return keyschedule.SHA256
	}
	return p.Hash
}

// forHashes returns what to offer for p where suites with these hashes are
// offered: the key itself if its hash is among them, or, when importing, one
// key for each (RFC 9258, section 5).
func (p *ExternalPSK) forHashes(hashes []keyschedule.Hash) ([]offeredPSK, error) {
	var list []offeredPSK
	for _, h := range hashes {
		if !p.Import && h != p.hash() {
			continue
		}
		o, err := p.forHash(h)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, nil
}

// fingerprint is what a session that p began is bound to: another key may have its
// identity later, or with another server.
func (p *ExternalPSK) fingerprint() []byte {
	mac := hmac.New(sha256.New, p.Secret)
	mac.Write([]byte{byte(p.hash().Size())})
	if p.Import {
		mac.Write([]byte{1})
		mac.Write(p.Context)
	}
	return mac.Sum(nil)
}

// began reports whether s is a session of p.
func (p *ExternalPSK) began(s *session.State) bool {
	return bytes.Equal(s.PSKIdentity, p.Identity) && hmac.Equal(s.PSKHash, p.fingerprint())
}

func (p *ExternalPSK) forHash(h keyschedule.Hash) (offeredPSK, error) {
	if len(p.Identity) == 0 || len(p.Secret) == 0 {
		return offeredPSK{}, alert.Errorf(alert.InternalError, "external PSK without identity or secret")
	}
	o := offeredPSK{kind: keyschedule.ExternalPSK, hash: h, identity: p.Identity, name: p.Identity, fingerprint: p.fingerprint()}
	if !p.Import {
		if len(p.Secret) > keyschedule.MaxSecretLen {
			return o, alert.Errorf(alert.InternalError, "external PSK of %d bytes is too long to be used without importing", len(p.Secret))
		}
		o.secret = keyschedule.NewSecret(p.Secret)
		return o, nil
	}
	var err error
	o.kind = keyschedule.ImportedPSK
	o.identity, o.secret, err = keyschedule.ImportPSK(p.hash(), p.Secret, p.Identity, p.Context, h)
	if err != nil {
		return o, alert.Errorf(alert.InternalError, "importing an external PSK: %w", err)
	}
	return o, nil
}

// importedIdentity is ImportedIdentity of RFC 9258, section 5.1.
type importedIdentity struct {
	externalIdentity, context []byte
	targetProtocol, targetKDF uint16
}

func parseImportedIdentity(b []byte) (*importedIdentity, error) {
	r := wire.NewReader(b)
	m := &importedIdentity{
		externalIdentity: r.Vec16(1, 1<<16-1),
		context:          r.Vec16(0, 1<<16-1),
		targetProtocol:   r.U16(),
		targetKDF:        r.U16(),
	}
	return m, r.Done("ImportedIdentity")
}

// externalPSK looks up an identity that a client sent. It returns nil for one
// that nobody knows.
func (s *serverHandshake) externalPSK(identity []byte) (*offeredPSK, error) {
	if s.cfg.GetPSK == nil {
		return nil, nil
	}
	if id, err := parseImportedIdentity(identity); err == nil && id.targetProtocol == versionTLS13 {
		return s.importedPSK(identity, id)
	}
	p, err := s.lookupPSK(identity)
	if p == nil || err != nil || p.Import {
		return nil, err
	}
	o, err := p.forHash(p.hash())
	return &o, err
}

// importedPSK derives the key that a client imported, if it means the same.
func (s *serverHandshake) importedPSK(identity []byte, id *importedIdentity) (*offeredPSK, error) {
	p, err := s.lookupPSK(id.externalIdentity)
	if p == nil || err != nil || !p.Import {
		return nil, err
	}
	for _, h := range [...]keyschedule.Hash{keyschedule.SHA256, keyschedule.SHA384} {
		o, err := p.forHash(h)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(o.identity, identity) {
			return &o, nil
		}
	}
	return nil, nil
}

func (s *serverHandshake) lookupPSK(identity []byte) (*ExternalPSK, error) {
	p, err := s.cfg.GetPSK(s.ctx, identity)
	if err != nil {
		return nil, alert.Errorf(alert.InternalError, "looking up an external PSK: %w", err)
	}
	return p, nil
}
