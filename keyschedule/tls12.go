package keyschedule

import (
	"errors"

	"github.com/go-handoff/tls/internal/redact"
)

// finishedLen12 is the length of verify_data in TLS 1.2 (RFC 5246, 7.4.9).
const finishedLen12 = 12

// prf fills out with PRF(secret, label, seed...) of RFC 5246, section 5. Like
// the HKDF functions it does not allocate, unless an exporter's context is long.
func prf(h Hash, out, secret []byte, label string, seed ...[]byte) {
	var buf [maxShortHMAC]byte // A(i), label and seed
	var a, block [MaxSecretLen]byte
	defer clear(buf[:])
	defer clear(a[:])
	defer clear(block[:])
	in := append(buf[:h.Size()], label...)
	for _, s := range seed {
		in = append(in, s...)
	}
	appendHMAC(h, a[:0], secret, in[h.Size():])
	for {
		copy(in[:h.Size()], a[:])
		out = out[copy(out, appendHMAC(h, block[:0], secret, in)):]
		if len(out) == 0 {
			return
		}
		appendHMAC(h, a[:0], secret, in[:h.Size()])
	}
}

// MasterSecret is the TLS 1.2 master secret with the suite that it belongs to.
type MasterSecret struct {
	Secret
	h Hash
}

// ResumeMasterSecret returns the master secret of an earlier session.
func ResumeMasterSecret(h Hash, secret *Secret) *MasterSecret {
	return &MasterSecret{Secret: *secret, h: h}
}

// NewMasterSecret derives the master secret from the randoms alone
// (RFC 5246, section 8.1), for peers without extended_master_secret.
func NewMasterSecret(h Hash, preMaster, clientRandom, serverRandom []byte) *MasterSecret {
	m := &MasterSecret{h: h}
	m.set(preMaster, "master secret", clientRandom, serverRandom)
	return m
}

// NewExtendedMasterSecret derives the master secret from the transcript up to
// and with ClientKeyExchange (RFC 7627, section 4).
func NewExtendedMasterSecret(h Hash, preMaster, sessionHash []byte) *MasterSecret {
	m := &MasterSecret{h: h}
	m.set(preMaster, "extended master secret", sessionHash, nil)
	return m
}

func (m *MasterSecret) set(preMaster []byte, label string, seed1, seed2 []byte) {
	m.n = MaxSecretLen
	prf(m.h, m.b[:], preMaster, label, seed1, seed2)
}

// Keys expands the key block (RFC 5246, section 6.3) into both directions'
// keys, at sequence number 0.
func (m *MasterSecret) Keys(suite *Suite, clientRandom, serverRandom []byte) (client, server *TrafficKeys) {
	client, server = newTrafficKeysPair(suite)
	parts := [...][]byte{client.MACKey(), server.MACKey(), client.Key(), server.Key(), client.IV(), server.IV()}
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	var buf [2 * (20 + 32 + 12)]byte
	defer clear(buf[:])
	block := buf[:n]
	prf(m.h, block, m.Bytes(), "key expansion", serverRandom, clientRandom)
	for _, p := range parts {
		block = block[copy(p, block):]
	}
	return client, server
}

// ClientVerifyData returns the client's Finished value (RFC 5246, section 7.4.9).
func (m *MasterSecret) ClientVerifyData(transcriptHash []byte) []byte {
	// This is to be inlined: then the result can be on the caller's stack.
	return m.verifyData(make([]byte, finishedLen12), "client finished", transcriptHash)
}

// ServerVerifyData returns the server's Finished value.
func (m *MasterSecret) ServerVerifyData(transcriptHash []byte) []byte {
	return m.verifyData(make([]byte, finishedLen12), "server finished", transcriptHash)
}

//go:noinline
func (m *MasterSecret) verifyData(out []byte, label string, transcriptHash []byte) []byte {
	prf(m.h, out, m.Bytes(), label, transcriptHash)
	return out
}

// Exporter12 makes keying material for applications (RFC 5705, section 4).
type Exporter12 struct {
	redact.Value
	master                     MasterSecret
	clientRandom, serverRandom [32]byte
}

// Exporter returns the exporter of a connection with the given randoms.
func (m *MasterSecret) Exporter(clientRandom, serverRandom [32]byte) *Exporter12 {
	return &Exporter12{master: *m, clientRandom: clientRandom, serverRandom: serverRandom}
}

// Export returns n bytes of keying material bound to label and context. A nil
// context and an empty one differ, as RFC 5705 says.
func (e *Exporter12) Export(label string, context []byte, n int) ([]byte, error) {
	switch label {
	case "client finished", "server finished", "master secret", "extended master secret", "key expansion":
		return nil, errors.New("tls: exporter label " + label + " is reserved")
	}
	if n < 0 || len(context) > 0xffff {
		return nil, errExportLength
	}
	seed := [][]byte{e.clientRandom[:], e.serverRandom[:]}
	if context != nil {
		seed = append(seed, []byte{byte(len(context) >> 8), byte(len(context))}, context)
	}
	out := make([]byte, n)
	prf(e.master.h, out, e.master.Bytes(), label, seed...)
	return out, nil
}

// Parts returns what [MasterSecret.Exporter] made the exporter of. The secret
// aliases e.
func (e *Exporter12) Parts() (master *MasterSecret, clientRandom, serverRandom [32]byte) {
	return &e.master, e.clientRandom, e.serverRandom
}

// Wipe overwrites the exporter's secret.
func (e *Exporter12) Wipe() { e.master.Wipe() }
