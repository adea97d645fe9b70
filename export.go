package tls

import (
	"bytes"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// ExportedKeys is what another record layer needs to go on with a connection
// that [Conn.ExportKeys] has left. It does not print.
type ExportedKeys struct {
	guard

	// Version and CipherSuite are those of the connection.
	Version, CipherSuite uint16

	// Read and Write protect what is received and what is sent. Seq in each is
	// the number of the next record. They are the caller's to wipe.
	Read, Write *keyschedule.TrafficKeys
	// ReadSecret and WriteSecret are what the keys were derived from: with them
	// the holder can follow and send KeyUpdates (RFC 9846, section 7.2). They
	// are empty for TLS 1.2.
	ReadSecret, WriteSecret *keyschedule.TrafficSecret

	// Plaintext was received and decrypted, but not read. Ciphertext, which
	// comes after it, was received and not decrypted: it begins with the header
	// of record Read.Seq, and may end in the middle of a record.
	Plaintext, Ciphertext []byte
}

// Wipe overwrites the keys and secrets.
func (k *ExportedKeys) Wipe() {
	k.Read.Wipe()
	k.Write.Wipe()
	k.ReadSecret.Wipe()
	k.WriteSecret.Wipe()
}

// ExportKeys takes the keys out of the connection, with the numbers of the next
// records, to protect records elsewhere. It handshakes first if that was not
// done, and sends what is still to be sent, such as session tickets. It can be
// called once: nothing can be read or written here afterwards ([ErrKeysExported]),
// and Close closes the connection below without close_notify. Nobody may be
// reading meanwhile ([ErrReadInProgress]), and the kernel must have no keys
// ([ErrInKernel]): set Config.Kernel's TX to kernel.Off.
//
// The holder of the keys also inherits what else comes in records: alerts,
// KeyUpdates and session tickets (RFC 9846, sections 4.7 and 6).
func (c *Conn) ExportKeys() (*ExportedKeys, error) {
	if err := c.enterWrite(); err != nil {
		return nil, err
	}
	defer c.leaveWrite()
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	if !c.in.TryLock() {
		return nil, ErrReadInProgress
	}
	defer c.unlockIn()
	c.out.Lock()
	defer c.unlockOut()
	switch {
	case c.in.kernel != nil || c.out.kernel != nil:
		return nil, ErrInKernel
	case c.in.err != nil:
		return nil, c.in.err
	case c.out.err != nil:
		return nil, c.out.err
	case !c.engine.ReadAligned():
		return nil, newLocalError(alert.Errorf(alert.InternalError, "keys cannot be exported within a handshake message"))
	}
	if err := c.sendLocked(); err != nil {
		return nil, err
	}
	if err := c.settle(); err != nil {
		return nil, err
	}
	keys := c.takeKeys()
	c.exported.Store(true)
	c.engineMutex.Unlock()
	c.in.stop(ErrKeysExported)
	c.out.stop(ErrKeysExported)
	c.wipeEngine()
	return keys, nil
}

// takeKeys moves the keys out of both sides. in, out and engineMutex are held.
func (c *Conn) takeKeys() *ExportedKeys {
	suite := c.engine.State().Suite
	keys := &ExportedKeys{
		Version:     suite.Version,
		CipherSuite: suite.ID,
		Read:        c.in.opener.Release(),
		Write:       c.out.sealer.Release(),
		Plaintext:   bytes.Clone(c.in.plain),
		Ciphertext:  bytes.Clone(c.in.bytes()),
	}
	read, write := c.engine.TrafficSecrets()
	keys.ReadSecret, keys.WriteSecret = &read, &write
	return keys
}
