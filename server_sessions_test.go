package tls

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/file"
)

// openStore returns a store, and whoever calls it with the same dir gets the
// same content: in another process that would be the same.
type openStore func(t *testing.T, dir string) session.Store

func openFileStore(t *testing.T, dir string) session.Store {
	t.Helper()
	store, err := file.OpenStore(dir, 100)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// memoryStores returns one store in memory for each directory.
func memoryStores() openStore {
	stores := make(map[string]session.Store)
	return func(_ *testing.T, dir string) session.Store {
		if stores[dir] == nil {
			stores[dir] = session.NewMemoryStore(100)
		}
		return stores[dir]
	}
}

func forEachStore(t *testing.T, f func(t *testing.T, open openStore, v uint16)) {
	for name, open := range map[string]openStore{"memory": memoryStores(), "file": openFileStore} {
		t.Run(name, func(t *testing.T) { forEachVersion(t, func(t *testing.T, v uint16) { f(t, open, v) }) })
	}
}

// statefulServer is a server whose process begins now. Its budget is large: the
// machine that runs these tests may have much to do.
func statefulServer(t *testing.T, store session.Store) *Config {
	server := serverConfig("P256")
	server.ServerSessions = &session.Stateful{
		Store: store, Budget: 10 * time.Second, OnError: func(err error) { t.Errorf("OnError: %v", err) },
	}
	server.SetSessionTicketKeys([][32]byte{{1}})
	return server
}

func privateDir(t *testing.T) string { return filepath.Join(t.TempDir(), "store") }

// TestServerSessions resumes on the same server, on a second server of the
// fleet, and after a restart.
func TestServerSessions(t *testing.T) {
	forEachStore(t, func(t *testing.T, open openStore, v uint16) {
		dir, client := privateDir(t), cachingClient()
		client.MaxVersion = v
		server := statefulServer(t, open(t, dir))
		if resumes(t, client, server) {
			t.Error("the first connection is resumed")
		}
		servers := []*Config{server, statefulServer(t, server.ServerSessions.Store), statefulServer(t, open(t, dir)), server.Clone()}
		for i, server := range servers {
			if !resumes(t, client, server) {
				t.Errorf("server %d does not resume", i)
			}
		}
		other := statefulServer(t, open(t, dir))
		other.SetSessionTicketKeys([][32]byte{{2}})
		if resumes(t, client, other) {
			t.Error("a server with other keys resumes")
		}
	})
}

// TestServerSessionsStd has crypto/tls resume, in both versions.
func TestServerSessionsStd(t *testing.T) {
	forEachStore(t, func(t *testing.T, open openStore, v uint16) {
		client := stdClientConfig()
		client.ClientSessionCache, client.MaxVersion = tls.NewLRUClientSessionCache(0), v
		dir := privateDir(t)
		for i := range 3 {
			c, s := connect(t, sockets, client, statefulServer(t, open(t, dir)))
			echo(t, c, s)
			if resumed := c.ConnectionState().DidResume; resumed != (i > 0) {
				t.Errorf("connection %d: resumed %v", i, resumed)
			}
			c.Close()
			s.Close()
		}
	})
}

// replayCache gives out the first session that it got for ever.
type replayCache struct{ cs *ClientSessionState }

func (r *replayCache) Get(string) (*ClientSessionState, bool) { return r.cs, r.cs != nil }
func (r *replayCache) Put(_ string, cs *ClientSessionState) {
	if r.cs == nil {
		ticket, state, err := cs.ResumptionState()
		if err != nil {
			panic(err)
		}
		if r.cs, err = NewResumptionState(ticket, state); err != nil {
			panic(err)
		}
	}
}

// TestServerSessionsReplay uses a handle again and again: of TLS 1.3 that is a
// full handshake, on every server.
func TestServerSessionsReplay(t *testing.T) {
	forEachStore(t, func(t *testing.T, open openStore, v uint16) {
		dir, client := privateDir(t), clientConfig()
		client.ClientSessionCache, client.MaxVersion = new(replayCache), v
		resumes(t, client, statefulServer(t, open(t, dir)))
		for i := range 3 {
			want := i == 0 || v == VersionTLS12
			if got := resumes(t, client, statefulServer(t, open(t, dir))); got != want {
				t.Errorf("use %d of the handle: resumed %v", i, got)
			}
		}
	})
}

// TestServerSessionsRetry resumes in spite of a HelloRetryRequest, after which
// the client offers the handle that is used up a second time.
func TestServerSessionsRetry(t *testing.T) {
	client, server := cachingClient(), statefulServer(t, session.NewMemoryStore(0))
	server.CurvePreferences = []CurveID{CurveP521}
	for i := range 3 {
		c, s := connect(t, sockets, client, server)
		echo(t, c, s)
		if got := c.ConnectionState(); got.DidResume != (i > 0) || !got.HelloRetryRequest {
			t.Errorf("connection %d: resumed %v, HelloRetryRequest %v", i, got.DidResume, got.HelloRetryRequest)
		}
		c.Close()
		s.Close()
	}
}

// TestServerSessionsNotResumed changes what a session is bound to, or what the
// store has of it: full handshakes, without an error.
func TestServerSessionsNotResumed(t *testing.T) {
	tests := []struct {
		name           string
		client, server func(*Config)
		files          func(t *testing.T, path string)
		want           bool
	}{
		{name: "nothing changed", want: true},
		{name: "other protocol", client: func(c *Config) { c.NextProtos = []string{"other"} }, server: func(c *Config) { c.NextProtos = []string{"other"} }},
		{name: "other name", client: func(c *Config) { c.ServerName = "second.example" }},
		{name: "other certificate", server: func(c *Config) { c.Certificates = []Certificate{testCert("RSA")} }},
		{name: "renewed certificate", server: func(c *Config) {
			c.Certificates = []Certificate{newAuthority().issue(testKeys()["P256"], testName)}
		}},
		{name: "wants a certificate now", server: func(c *Config) { c.ClientAuth = RequireAnyClientCert },
			client: func(c *Config) { c.Certificates = []Certificate{testCert("P256")} }},
		{name: "expired", server: func(c *Config) { c.Time = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) } }},
		{name: "changed", files: func(t *testing.T, path string) {
			rewrite(t, path, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		}},
		{name: "cut", files: func(t *testing.T, path string) { rewrite(t, path, func(b []byte) []byte { return b[:len(b)/2] }) }},
		{name: "empty", files: func(t *testing.T, path string) { rewrite(t, path, func([]byte) []byte { return nil }) }},
		{name: "removed", files: func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, v uint16) {
				dir, client := privateDir(t), clientConfig()
				client.ClientSessionCache, client.MaxVersion = new(replayCache), v
				client.InsecureSkipVerify = true // one name's session for the other
				resumes(t, client, statefulServer(t, openFileStore(t, dir)))
				client, server := client.Clone(), statefulServer(t, openFileStore(t, dir))
				for change, cfg := range map[*func(*Config)]*Config{&test.client: client, &test.server: server} {
					if *change != nil {
						(*change)(cfg)
					}
				}
				if test.files != nil {
					for _, path := range values(t, dir) {
						test.files(t, path)
					}
				}
				if got := resumes(t, client, server); got != test.want {
					t.Errorf("resumed %v", got)
				}
			})
		})
	}
}

// values lists the files of a store's values.
func values(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "v-*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no values: %v", err)
	}
	return paths
}

// rewrite changes a file but not its time.
func rewrite(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// brokenStore fails, or hangs without an ear for its context.
type brokenStore struct {
	session.Store
	call func() error
}

func (b brokenStore) Get(context.Context, string) ([]byte, error)              { return nil, b.call() }
func (b brokenStore) TakeOnce(context.Context, string) ([]byte, error)         { return nil, b.call() }
func (b brokenStore) Put(context.Context, string, []byte, time.Duration) error { return b.call() }
func (b brokenStore) Add(context.Context, string, time.Duration) (bool, error) {
	return false, b.call()
}

// TestServerSessionsBrokenStore resumes with a store that fails or hangs: the
// handshake is a full one, in about the time that one takes.
func TestServerSessionsBrokenStore(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, call := range map[string]func() error{
		"fails": func() error { return errors.New("broken") },
		"hangs": func() error { <-release; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, v uint16) {
				client := clientConfig()
				client.ClientSessionCache, client.MaxVersion = new(replayCache), v
				good := statefulServer(t, session.NewMemoryStore(0))
				resumes(t, client, good)
				bad := statefulServer(t, brokenStore{call: call})
				var errs atomic.Int64
				bad.ServerSessions.OnError = func(error) { errs.Add(1) }
				bad.ServerSessions.Budget = 0 // 2 milliseconds
				start := time.Now()
				if resumes(t, client, bad) {
					t.Error("resumed")
				}
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("took %v", took)
				}
				if errs.Load() < 2 { // the lookup and the ticket
					t.Errorf("OnError was told %d times", errs.Load())
				}
				if !resumes(t, client, good) {
					t.Error("the good store does not resume afterwards")
				}
			})
		})
	}
}

// TestServerSessionsFlood makes many sessions: the store keeps its bound.
func TestServerSessionsFlood(t *testing.T) {
	store := session.NewMemoryStore(5)
	server := statefulServer(t, store)
	server.SessionTicketCount = 4
	for range 5 {
		resumes(t, cachingClient(), server)
		if store.Len() > 5 {
			t.Fatalf("%d sessions", store.Len())
		}
	}
}

// TestServerSessionIDs has OpenSSL resume by session ID, because it is told not
// to take tickets, across a restart of the server.
func TestServerSessionIDs(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("SKIPPED: there is no openssl: session IDs are not tested")
	}
	for name, open := range map[string]openStore{"memory": memoryStores(), "file": openFileStore} {
		t.Run(name, func(t *testing.T) {
			dir, saved := privateDir(t), filepath.Join(t.TempDir(), "session")
			for i, args := range [][]string{{"-sess_out", saved}, {"-sess_in", saved}, {"-sess_in", saved}} {
				server := statefulServer(t, open(t, dir))
				server.MaxVersion = VersionTLS12
				if resumed := serveOpenSSL(t, openssl, server, args...); resumed != (i > 0) {
					t.Errorf("connection %d: resumed %v", i, resumed)
				}
			}
			server := statefulServer(t, session.NewMemoryStore(0))
			server.MaxVersion = VersionTLS12
			if serveOpenSSL(t, openssl, server, "-sess_in", saved) {
				t.Error("a server without the session resumes it")
			}
		})
	}
}

// serveOpenSSL serves one connection of s_client and reports whether it was
// resumed.
func serveOpenSSL(t *testing.T, openssl string, server *Config, args ...string) bool {
	t.Helper()
	l, err := Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, openssl, append([]string{
		"s_client", "-connect", l.Addr().String(), "-no_ticket", "-servername", testName, "-quiet",
	}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*Conn).HandshakeContext(ctx); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	resumed := conn.(*Conn).ConnectionState().DidResume
	if _, err := io.WriteString(conn, "bye\n"); err != nil {
		t.Error(err)
	}
	conn.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("openssl: %v\n%s", err, out.String())
	}
	return resumed
}

func TestServerSessionsConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no store":       func(c *Config) { c.ServerSessions.Store = nil },
		"a WrapSession":  func(c *Config) { c.WrapSession = c.EncryptTicket },
		"UnwrapSession":  func(c *Config) { c.UnwrapSession = c.DecryptTicket },
		"a second cache": func(c *Config) { c.ServerSessionCache = session.NewServerCache(0, 0) },
	} {
		server := statefulServer(t, session.NewMemoryStore(0))
		change(server)
		if ce := (*ConfigError)(nil); !errors.As(server.check(roleServer), &ce) || ce.Field != "ServerSessions" {
			t.Errorf("with %s: %v", name, server.check(roleServer))
		}
		if err := (&Config{ServerSessions: server.ServerSessions, ServerName: testName}).check(roleClient); err != nil {
			t.Errorf("as a client: %v", err)
		}
	}
}

// TestNoSecretInFiles looks for what the key log has in all files that a server
// and its client keep.
func TestNoSecretInFiles(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		serverDir, clientDir := privateDir(t), privateDir(t)
		var log bytes.Buffer
		client, server := clientConfig(), statefulServer(t, openFileStore(t, serverDir))
		client.MaxVersion, client.KeyLogWriter = v, &log
		client.ClientSessionCache = fileCache(t, clientDir, 3)
		for range 3 {
			resumes(t, client, server)
		}
		files := make(map[string][]byte)
		for _, path := range append(values(t, serverDir), values(t, clientDir)...) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[path] = b
		}
		// What the client has kept is what the server has of the same session.
		cs, ok := client.ClientSessionCache.Get(testName)
		if !ok {
			t.Fatal("no session")
		}
		ticket, state, err := cs.ResumptionState()
		if err != nil {
			t.Fatal(err)
		}
		secrets := [][]byte{ticket, state.state.Secret.Bytes(), []byte(testName), bytes.Repeat([]byte{3}, 16)}
		for line := range strings.Lines(log.String()) {
			secret, err := hex.DecodeString(strings.Fields(line)[2])
			if err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, secret)
		}
		for path, b := range files {
			for i, secret := range secrets {
				if bytes.Contains(b, secret) || bytes.Contains(b, []byte(hex.EncodeToString(secret))) || strings.Contains(path, hex.EncodeToString(secret)) {
					t.Errorf("%s has secret %d", path, i)
				}
			}
		}
	})
}

func fileCache(t *testing.T, dir string, key byte) ClientSessionCache {
	t.Helper()
	cache, err := NewFileClientSessionCache(dir, [32]byte(bytes.Repeat([]byte{key}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// TestFileClientSessionCache resumes after a restart of the client.
func TestFileClientSessionCache(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		dir, server := privateDir(t), serverConfig("P256")
		server.SessionTicketCount = 2
		restarted := func(key byte) *Config {
			client := clientConfig()
			client.MaxVersion, client.ClientSessionCache = v, fileCache(t, dir, key)
			return client
		}
		for i := range 4 {
			if got := resumes(t, restarted(1), server); got != (i > 0) {
				t.Errorf("connection %d: resumed %v", i, got)
			}
		}
		n := 0
		for cache := fileCache(t, dir, 1); n < 10; n++ {
			if _, ok := cache.Get(testName); !ok {
				break
			}
		}
		if v == VersionTLS13 && n < 2 || v == VersionTLS12 && n != 10 {
			t.Errorf("%d sessions", n)
		}
		resumes(t, restarted(1), server)
		if resumes(t, restarted(2), server) {
			t.Error("resumed with another key")
		}
		resumes(t, restarted(1), server)
		for _, path := range values(t, dir) {
			rewrite(t, path, func(b []byte) []byte { return b[:len(b)-1] })
		}
		if resumes(t, restarted(1), server) {
			t.Error("resumed with a file that is cut")
		}
		cache := fileCache(t, dir, 1)
		cache.Put(testName, nil)
		if _, ok := cache.Get(testName); ok {
			t.Error("a session that was removed is there")
		}
	})
	if _, err := NewFileClientSessionCache(filepath.Join(t.TempDir(), "absent", "absent"), [32]byte{1}); err == nil {
		t.Error("a cache in a directory that cannot be made")
	}
}
