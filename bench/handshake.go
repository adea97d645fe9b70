package bench

import (
	"crypto/tls"
	"fmt"
	"net"
	"runtime"

	handoff "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// conn is what both stacks' connections have in common here.
type conn interface {
	net.Conn
	Handshake() error
}

// kind says what a handshake is like.
type kind struct {
	version uint16
	group   tls.CurveID
	key     keyType
	mutual  bool
	resume  bool
	chain   bool // an intermediate certificate between root and leaf
	chacha  bool // ChaCha20-Poly1305 in place of AES-128-GCM; TLS 1.3, and our client
}

// configs returns what crypto/tls needs for handshakes of this kind.
func (k kind) configs() (client, server *tls.Config) {
	id := newIdentity(k.key, k.chain)
	server = &tls.Config{Certificates: []tls.Certificate{id.certificate}}
	client = &tls.Config{RootCAs: id.roots, ServerName: serverName}
	for _, c := range []*tls.Config{client, server} {
		c.MinVersion, c.MaxVersion = k.version, k.version
		c.CurvePreferences = []tls.CurveID{k.group}
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	if k.mutual {
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, id.roots
		client.Certificates = []tls.Certificate{id.certificate}
	}
	server.SessionTicketsDisabled = !k.resume
	return client, server
}

// maker makes one end of a connection.
type maker func(net.Conn) conn

// ends returns what makes the two ends of connections of this kind.
func (k kind) ends(s Stack) ([2]maker, error) { return k.between(s, s) }

// between returns what makes the two ends of connections of this kind, each by
// its own stack.
func (k kind) between(clientStack, serverStack Stack) (ends [2]maker, err error) {
	c, srv := k.configs()
	if ends[client], err = k.maker(clientStack, client, c); err != nil {
		return ends, err
	}
	ends[server], err = k.maker(serverStack, server, srv)
	return ends, err
}

// maker returns what makes a side by a stack.
func (k kind) maker(s Stack, of side, c *tls.Config) (maker, error) {
	sessions := k.resume && of == client
	if s == Std {
		if sessions {
			c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
		if of == client {
			return func(nc net.Conn) conn { return tls.Client(nc, c) }, nil
		}
		return func(nc net.Conn) conn { return tls.Server(nc, c) }, nil
	}
	ours, err := k.ours(s, c)
	if err != nil {
		return nil, err
	}
	if sessions {
		ours.ClientSessionCache = handoff.NewLRUClientSessionCache(0)
	}
	if of == client {
		return func(nc net.Conn) conn { return handoff.Client(nc, ours) }, nil
	}
	return func(nc net.Conn) conn { return handoff.Server(nc, ours) }, nil
}

// ours returns the Config of this module that means the same, in user space or
// with the kernel sending.
func (k kind) ours(s Stack, c *tls.Config) (*handoff.Config, error) {
	ours, err := handoff.FromStd(c)
	if err != nil {
		return nil, err
	}
	if k.chacha {
		ours.CipherSuites = []uint16{handoff.TLS_CHACHA20_POLY1305_SHA256}
	}
	ours.Kernel = kernel.Policy{TX: kernel.Off, RX: kernel.Off}
	if s == Kernel {
		ours.Kernel.TX = kernel.Require
	}
	return ours, nil
}

// full does a handshake, sends a byte from the server to the client, which
// brings a ticket along, and closes nothing: that is not what is measured.
func (k kind) full(ends [2]maker, l *lockstep) error {
	var resumed bool
	err := l.run([2]func(net.Conn) error{
		func(nc net.Conn) error {
			c := ends[client](nc)
			if _, err := c.Read(make([]byte, 1)); err != nil {
				return err
			}
			resumed = didResume(c)
			return nil
		},
		func(nc net.Conn) error {
			c := ends[server](nc)
			_, err := c.Write([]byte{1})
			return err
		},
	})
	if err == nil && resumed != k.resume {
		err = fmt.Errorf("resumed: %v", resumed)
	}
	return err
}

func didResume(c conn) bool {
	switch c := c.(type) {
	case *tls.Conn:
		return c.ConnectionState().DidResume
	case *handoff.Conn:
		return c.ConnectionState().DidResume
	}
	panic(fmt.Sprintf("bench: %T", c))
}

// handshakes is the case of one kind of handshake: the CPU time of both sides.
// most is how many allocations a client and a server may make.
func handshakes(name string, k kind, target float64, most ...float64) Case {
	c := Case{Name: name, Unit: "cpu-ns/op", Target: target, Open: func(s Stack) (*Player, error) {
		ends, err := k.ends(s)
		if err != nil {
			return nil, err
		}
		if k.resume {
			first := k
			first.resume = false
			if err := first.full(ends, newLockstep(nil)); err != nil {
				return nil, err
			}
		}
		return &Player{Play: func(n int) (Figures, error) { return playHandshakes(k, ends, n) }}, nil
	}}
	if most != nil {
		c.Most = map[string]float64{"server-allocs/op": most[server], "client-allocs/op": most[client]}
	}
	return c
}

// playHandshakes measures CPU time over all n handshakes, and what each side
// allocates over one more of them, as counting it stops the world.
func playHandshakes(k kind, ends [2]maker, n int) (Figures, error) {
	// One side runs at a time. With more processors than one, the time would be also
	// that of the scheduler, which wakes the others up for every turn.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f := Figures{}
	start := cpuTime()
	for range n {
		if err := k.full(ends, newLockstep(nil)); err != nil {
			return nil, err
		}
	}
	f["cpu-ns/op"] = float64(cpuTime()-start) / float64(n)

	var before, now runtime.MemStats
	l := newLockstep(func(s side) {
		runtime.ReadMemStats(&now)
		f[s.String()+"-allocs/op"] += float64(now.Mallocs - before.Mallocs)
		f[s.String()+"-B/op"] += float64(now.TotalAlloc - before.TotalAlloc)
		runtime.ReadMemStats(&before)
	})
	runtime.ReadMemStats(&before)
	if err := k.full(ends, l); err != nil {
		return nil, err
	}
	for s := range l.ends {
		f[side(s).String()+"-writes/op"] = float64(l.ends[s].writes)
	}
	return f, nil
}

const (
	v12 = tls.VersionTLS12
	v13 = tls.VersionTLS13
)

// Handshakes are the cases of whole handshakes in memory.
var Handshakes = []Case{
	handshakes("HS13Full/x25519-p256", kind{version: v13, group: tls.X25519}, 1.30, 120, 110),
	handshakes("HS13Full/mlkem768-p256", kind{version: v13, group: tls.X25519MLKEM768}, 1.60),
	handshakes("HS13Full/p256-p256", kind{version: v13, group: tls.CurveP256}, 0),
	handshakes("HS13Full/x25519-ed25519", kind{version: v13, group: tls.X25519, key: ed25519Key}, 0),
	handshakes("HS13Full/x25519-rsa2048", kind{version: v13, group: tls.X25519, key: rsa2048Key}, 0),
	handshakes("HS13Full/x25519-p256-chain", kind{version: v13, group: tls.X25519, chain: true}, 0),
	handshakes("HS13Mutual/x25519-p256", kind{version: v13, group: tls.X25519, mutual: true}, 1.25),
	handshakes("HS13Resume/x25519", kind{version: v13, group: tls.X25519, resume: true}, 1.75, 60, 60),
	handshakes("HS13Resume/mlkem768", kind{version: v13, group: tls.X25519MLKEM768, resume: true}, 0),
	handshakes("HS12Full/x25519-p256", kind{version: v12, group: tls.X25519}, 1.25),
	handshakes("HS12Mutual/x25519-p256", kind{version: v12, group: tls.X25519, mutual: true}, 1.25),
	handshakes("HS12Resume", kind{version: v12, group: tls.X25519, resume: true}, 1.80),
}
