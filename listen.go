package tls

import (
	"net"
)

// Listen listens on a network address by net.Listen and serves TLS there. The
// config must not be nil, and must have a certificate, or GetCertificate or
// GetConfigForClient set, or pre-shared keys.
func Listen(network, laddr string, config *Config) (net.Listener, error) {
	if config == nil || !config.canServe() {
		return nil, &ConfigError{Field: "Certificates", Reason: "a server needs Certificates, GetCertificate, GetConfigForClient or GetExternalPSK"}
	}
	l, err := net.Listen(network, laddr)
	if err != nil {
		return nil, err
	}
	return NewListener(l, config), nil
}

func (c *Config) canServe() bool {
	return len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil || c.GetExternalPSK != nil
}

// NewListener returns a listener whose connections are those of inner, wrapped
// by [Server].
func NewListener(inner net.Listener, config *Config) net.Listener {
	return &listener{Listener: inner, config: config}
}

type listener struct {
	net.Listener
	config *Config
}

// Accept waits for the next connection. It does not handshake: the first Read
// or Write does, or [Conn.HandshakeContext].
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Server(c, l.config), nil
}

// Server returns the server side of a TLS connection over conn. The config must
// not change afterwards. See [Listen] for what it must contain.
func Server(conn net.Conn, config *Config) *Conn { return newConn(conn, config, roleServer) }
