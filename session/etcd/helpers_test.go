package etcd

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

// etcdServer is one etcd with quick elections, which make short leases possible.
var etcdServer = sessiontest.ServerCommand{
	Name: "etcd", Package: "etcd-server", Ports: 2,
	Args: func(dir string, ports []int) []string {
		clients, peers := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
		return []string{
			"--name", "one", "--data-dir", dataDir(dir), "--logger", "zap", "--log-level", "error",
			"--listen-client-urls", clients, "--advertise-client-urls", clients,
			"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "one=" + peers,
			"--heartbeat-interval", "20", "--election-timeout", "200", "--unsafe-no-fsync",
		}
	},
	Ready: func(ctx context.Context, addr string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/health", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("health: %s", resp.Status)
		}
		return nil
	},
}

func dataDir(dir string) string { return filepath.Join(dir, "data") }

const (
	testKey = "fleet/keys"
	// patience is what no test waits for unless it fails.
	patience = 20 * time.Second
)

var testKEK = [32]byte{1, 2, 3}

// open returns a Ring as command lines get it.
func open(t testing.TB, addr string) *Ring {
	t.Helper()
	r, err := OpenRing("etcd://" + addr + "/" + testKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeRing(t, r) })
	return r
}

func closeRing(t testing.TB, r *Ring) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// requests counts the requests of a client, without its watches.
type requests struct{ atomic.Int64 }

func (n *requests) count(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	n.Add(1)
	return call(ctx, method, req, reply, cc, opts...)
}

// dial returns a client of etcd that counts its requests.
func dial(t testing.TB, addr string) (*clientv3.Client, *requests) {
	t.Helper()
	n := new(requests)
	config := clientConfig([]string{"http://" + addr}, nil)
	config.DialOptions = append(config.DialOptions, grpc.WithChainUnaryInterceptor(n.count))
	client, err := clientv3.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, n
}

func load(t testing.TB, r session.RingSource) (value, version string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, version, err := r.Load(ctx)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return string(b), version
}

func replace(t testing.TB, r session.RingSource, old, value string) (version string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	version, ok, err := r.Replace(ctx, old, []byte(value))
	if !ok || err != nil {
		t.Fatalf("Replace: %v, %v", ok, err)
	}
	return version
}

// await waits until something is so.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in %v not: %s", patience, what)
		}
	}
}

// answersAlone waits until the Ring answers from memory.
func answersAlone(t testing.TB, r *Ring) {
	t.Helper()
	await(t, "a Ring that answers from memory", func() bool {
		load(t, r)
		_, ok := r.current()
		return ok
	})
}

func keyRing(source session.RingSource) *session.KeyRing {
	return &session.KeyRing{Source: source, KEK: testKEK, Budget: patience}
}

func refresh(t testing.TB, r *session.KeyRing) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.Refresh(ctx); err != nil {
		t.Fatalf("Refresh: %v", err)
	}
}

func newState() *session.State {
	return &session.State{
		Version:     keyschedule.VersionTLS13,
		CipherSuite: keyschedule.TLS_AES_128_GCM_SHA256,
		CreatedAt:   time.Now(),
		Secret:      keyschedule.NewSecret(make([]byte, 32)),
		Lifetime:    time.Hour,
	}
}

func seal(t testing.TB, r *session.KeyRing) []byte {
	t.Helper()
	ticket, err := r.Seal(newState())
	if err != nil || ticket == nil {
		t.Fatalf("Seal: %d bytes, %v", len(ticket), err)
	}
	return ticket
}

func opens(t testing.TB, r *session.KeyRing, ticket []byte) bool {
	t.Helper()
	s, err := r.Open(ticket)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s != nil
}
