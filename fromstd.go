package tls

import (
	"bytes"
	"cmp"
	"crypto/tls"
)

// FromStd returns a Config that means what a crypto/tls Config means, for
// programs whose libraries hand them one. Fields are copied, and callbacks that
// have other types here are adapted:
//
//   - GetConfigForClient may go on returning crypto/tls Configs.
//   - A ClientSessionCache of crypto/tls cannot hold sessions of this package.
//     If there is one, the result has a new cache of its own, so convert a
//     Config once and keep the result.
//
// Some cannot be brought over, and are refused with a [ConfigError] rather than
// ignored: WrapSession and UnwrapSession, whose sessions are of another type;
// keys from SetSessionTicketKeys, which crypto/tls does not give out; and what
// does not exist here, which is renegotiation and Encrypted Client Hello. Clear
// them, or call SetSessionTicketKeys on the result of a Config without them. A
// nil c gives an empty Config, which means the same.
func FromStd(c *tls.Config) (*Config, error) {
	if c == nil {
		return new(Config), nil
	}
	c = c.Clone() // which takes the lock that the fields need
	key := stdTicketKey(c)
	switch {
	case c.WrapSession != nil:
		return nil, &ConfigError{"WrapSession", "it takes sessions of crypto/tls"}
	case c.UnwrapSession != nil:
		return nil, &ConfigError{"UnwrapSession", "it makes sessions of crypto/tls"}
	case hasTicketKeys(c) && key == [32]byte{}:
		return nil, &ConfigError{"SetSessionTicketKeys", "crypto/tls does not give out the keys that were set"}
	}
	out := &Config{
		Rand:                                c.Rand,
		Time:                                c.Time,
		Certificates:                        c.Certificates,
		NameToCertificate:                   stdNames(c),
		GetCertificate:                      c.GetCertificate,
		GetClientCertificate:                c.GetClientCertificate,
		VerifyPeerCertificate:               c.VerifyPeerCertificate,
		VerifyConnection:                    c.VerifyConnection,
		RootCAs:                             c.RootCAs,
		NextProtos:                          c.NextProtos,
		ServerName:                          c.ServerName,
		ClientAuth:                          c.ClientAuth,
		ClientCAs:                           c.ClientCAs,
		InsecureSkipVerify:                  c.InsecureSkipVerify,
		CipherSuites:                        c.CipherSuites,
		SessionTicketsDisabled:              c.SessionTicketsDisabled,
		SessionTicketKey:                    key,
		MinVersion:                          c.MinVersion,
		MaxVersion:                          c.MaxVersion,
		CurvePreferences:                    c.CurvePreferences,
		DynamicRecordSizingDisabled:         c.DynamicRecordSizingDisabled,
		Renegotiation:                       c.Renegotiation,
		KeyLogWriter:                        c.KeyLogWriter,
		EncryptedClientHelloConfigList:      c.EncryptedClientHelloConfigList,
		EncryptedClientHelloRejectionVerify: c.EncryptedClientHelloRejectionVerify,
		GetEncryptedClientHelloKeys:         c.GetEncryptedClientHelloKeys,
		EncryptedClientHelloKeys:            c.EncryptedClientHelloKeys,
	}
	if c.ClientSessionCache != nil {
		out.ClientSessionCache = NewLRUClientSessionCache(0)
	}
	if get := c.GetConfigForClient; get != nil {
		out.GetConfigForClient = func(hello *ClientHelloInfo) (*Config, error) {
			c, err := get(hello)
			if err != nil {
				return nil, err
			}
			return FromStd(c)
		}
	}
	if err := cmp.Or(out.checkRenegotiation(), out.checkClientECH(), out.checkServer()); err != nil {
		return nil, err
	}
	return out, nil
}

// stdNames keeps a deprecated field working for programs that have it.
func stdNames(c *tls.Config) map[string]*Certificate {
	//lint:ignore SA1019 see above
	return c.NameToCertificate
}

// stdTicketKey returns the SessionTicketKey that the application set, or zero:
// crypto/tls fills it in on first use, with what begins like this.
func stdTicketKey(c *tls.Config) (key [32]byte) {
	//lint:ignore SA1019 programs that have it must go on to work
	if key = c.SessionTicketKey; bytes.HasPrefix(key[:], []byte("DEPRECATED")) {
		return [32]byte{}
	}
	return key
}
