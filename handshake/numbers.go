package handshake

// Numbers that stand in hello messages.
const (
	// fallbackSCSV marks a connection attempt below the client's best version
	// (RFC 7507).
	fallbackSCSV uint16 = 0x5600

	// pointFormatUncompressed is the only point format there is (RFC 8422,
	// section 5.1.2).
	pointFormatUncompressed uint8 = 0

	// Client certificate types of TLS 1.2 (RFC 8422, section 5.5).
	certTypeRSASign   uint8 = 1
	certTypeECDSASign uint8 = 64
)
