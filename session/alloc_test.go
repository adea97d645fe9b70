package session

import (
	"testing"

	"github.com/go-handoff/tls/keyschedule"
)

// wantAllocs fails unless f allocates n times.
func wantAllocs(t *testing.T, what string, n float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(100, f); got != n {
		t.Errorf("%s allocates %v times, want %v", what, got, n)
	}
}

func TestAllocations(t *testing.T) {
	var r KeyRing
	s := small13()
	s.ServerName, s.ALPN = "", "" // whose strings are allocations of their own
	s.PeerChain = [][]byte{make([]byte, 500), make([]byte, 400)}
	ticket := mustSeal(t, &r, s)
	encoding := mustBytes(t, s)
	wantAllocs(t, "Seal: the ticket", 1, func() { mustSeal(t, &r, s) })
	wantAllocs(t, "Open: the content, the State, the list of its chain", 3, func() { opens(t, &r, ticket) })
	wantAllocs(t, "ParseState: a copy, the State, the list of its chain,", 3, func() {
		if _, err := ParseState(encoding); err != nil {
			t.Error(err)
		}
	})
	wantAllocs(t, "Share", 1, func() { s = s.Share() })
}

// TestTakeHandsOver: a TLS 1.3 session comes out of the cache, not a copy of it;
// a TLS 1.2 session stays.
func TestTakeHandsOver(t *testing.T) {
	for _, s := range []*State{small13(), small12()} {
		c := NewClientCache(0)
		s.CreatedAt = c.now()
		c.Put("server", s)
		kept := c.servers["server"].Value.(*clientServer).states[0]
		left := 1
		if s.Version == keyschedule.VersionTLS13 {
			left = 0
		}
		got := c.Take("server")
		if got == nil || (got == kept) != (left == 0) || c.Len() != left || !got.Secret.Equal(&s.Secret) {
			t.Errorf("%#04x: the same %v, %d left, %+v", s.Version, got == kept, c.Len(), got)
		}
	}
}

// TestAllocationsOfClientCache: where each session is used at once, a cache
// costs a copy of the session and a place in the list.
func TestAllocationsOfClientCache(t *testing.T) {
	c := NewClientCache(0)
	s := full13()
	s.CreatedAt = c.now()
	wantAllocs(t, "Put and Take", 2, func() {
		c.Put("server", s)
		if c.Take("server") == nil {
			t.Error("nothing there")
		}
	})
}
