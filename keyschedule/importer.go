package keyschedule

import (
	"encoding/binary"
	"errors"
)

// ImportPSK derives from an external PSK the identity and the key to use with
// TLS 1.3 suites of hash target (RFC 9258, section 5). h is the hash that the
// external PSK was provisioned for, SHA-256 where nothing else was agreed.
func ImportPSK(h Hash, epsk, identity, context []byte, target Hash) (importedIdentity []byte, psk Secret, err error) {
	if len(identity) == 0 || len(identity)+len(context) > 0xffff-8 {
		return nil, psk, errors.New("tls: external PSK identity or context has an impossible length")
	}
	if len(epsk) == 0 {
		return nil, psk, errors.New("tls: empty external PSK")
	}
	id := binary.BigEndian.AppendUint16(nil, uint16(len(identity)))
	id = append(id, identity...)
	id = binary.BigEndian.AppendUint16(id, uint16(len(context)))
	id = append(id, context...)
	id = binary.BigEndian.AppendUint16(id, VersionTLS13)
	id = binary.BigEndian.AppendUint16(id, target.kdfID())

	epskx := extract(h, nil, epsk)
	defer epskx.Wipe()
	psk.n = uint8(target.Size())
	expandLabel(h, psk.b[:psk.n], epskx.Bytes(), "derived psk", h.appendSum(nil, id))
	return id, psk, nil
}

// kdfID is the HKDF identifier of RFC 9258, section 10.
func (h Hash) kdfID() uint16 {
	if h == SHA384 {
		return 0x0002
	}
	return 0x0001
}
