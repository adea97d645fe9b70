package etcd

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/session/sessiontest"
)

func TestOpenRing(t *testing.T) {
	for url, want := range map[string]struct {
		endpoints []string
		key       string
	}{
		"etcd://127.0.0.1:1/a/key":      {[]string{"http://127.0.0.1:1"}, "a/key"},
		"etcd://one:1,two,[::1]:3//key": {[]string{"http://one:1", "http://two:2379", "http://[::1]:3"}, "/key"},
		"etcds://one:1,[::1]/":          {[]string{"https://one:1", "https://[::1]:2379"}, DefaultKey},
		"etcd://localhost":              {[]string{"http://localhost:2379"}, DefaultKey},
		"etcd://127.0.0.1:1/a@b%20":     {[]string{"http://127.0.0.1:1"}, "a@b%20"},
	} {
		r, err := OpenRing(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got := r.client.Endpoints(); !slices.Equal(got, want.endpoints) || r.key != want.key {
			t.Errorf("%s: key %q at %q", url, r.key, got)
		}
		closeRing(t, r)
	}
	for _, url := range []string{
		"", "etcd", "etcd:", "etcd://", "etcd:///key", "http://127.0.0.1:1/key", "redis://127.0.0.1", "127.0.0.1:2379",
		"etcd://one:1,/key", "etcd://one:/key", "etcd://:1/key", "etcd://::1/key", "etcd://[::1/key", "etcd://a b/key",
		"etcd://user:secret@one:1/key", "etcd://one:1?secret", "etcd://one:1/key?secret", "etcd://one:1/key#secret",
	} {
		if r, err := OpenRing(url); err == nil {
			r.Close()
			t.Errorf("%q is accepted", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows it: %v", url, err)
		}
	}
}

const quietEnv = "SESSION_ETCD_QUIET"

// TestQuiet: nothing is printed when etcd is not there or goes away.
func TestQuiet(t *testing.T) {
	if addr := os.Getenv(quietEnv); addr != "" {
		r := open(t, addr)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if b, _, err := r.Load(ctx); err == nil {
				t.Errorf("Load: %d bytes", len(b))
			}
			cancel()
		}
		return
	}
	s := sessiontest.StartServer(t, etcdServer)
	for name, fault := range map[string]func(){"paused": s.Pause, "killed": s.Kill} {
		fault()
		cmd := exec.Command(os.Args[0], "-test.run=^TestQuiet$")
		cmd.Env = append(os.Environ(), quietEnv+"="+s.Addr)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != "PASS" {
			t.Errorf("%s: %v: %s", name, err, got)
		}
		s.Restart()
	}
}
