package tls

import (
	"context"
	"net"
	"strings"
)

// Client returns the client side of a TLS connection over conn. The config must
// not change afterwards. It must have ServerName or InsecureSkipVerify set, or
// use nothing but external pre-shared keys.
func Client(conn net.Conn, config *Config) *Conn { return newConn(conn, config, roleClient) }

// Dial connects to a network address by net.Dial and handshakes. A nil config
// means the zero one. ServerName defaults to the host in addr.
func Dial(network, addr string, config *Config) (*Conn, error) {
	return dial(context.Background(), new(net.Dialer), network, addr, config)
}

// DialWithDialer is [Dial] by a dialer of the caller. The dialer's timeout and
// deadline cover the handshake too.
func DialWithDialer(dialer *net.Dialer, network, addr string, config *Config) (*Conn, error) {
	return dial(context.Background(), dialer, network, addr, config)
}

// Dialer dials TLS connections.
type Dialer struct {
	// NetDialer makes the TCP connections; nil means the zero net.Dialer.
	NetDialer *net.Dialer
	// Config is for all connections; nil means the zero Config.
	Config *Config
}

// Dial is [Dialer.DialContext] without a context.
func (d *Dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext connects and handshakes. The result is a *[Conn]. Once the
// connection stands, ctx has no effect on it.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := d.NetDialer
	if dialer == nil {
		dialer = new(net.Dialer)
	}
	c, err := dial(ctx, dialer, network, addr, d.Config)
	if err != nil {
		return nil, err // and not c, which would be an interface that is not nil
	}
	return c, nil
}

func dial(ctx context.Context, dialer *net.Dialer, network, addr string, config *Config) (*Conn, error) {
	if dialer.Timeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dialer.Timeout)
		defer cancel()
	}
	if !dialer.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, dialer.Deadline)
		defer cancel()
	}
	raw, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := Client(raw, config.withServerName(addr))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// withServerName returns c with its ServerName set, from addr if need be.
func (c *Config) withServerName(addr string) *Config {
	if c == nil {
		c = new(Config)
	}
	if c.ServerName != "" {
		return c
	}
	host := addr
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		host = addr[:i]
	}
	c = c.Clone()
	c.ServerName = host
	return c
}
