//go:build unix

package kernel

import (
	"errors"
	"syscall"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

// blocked is a socket that waits for new keys, and does not take the old ones
// again.
type blocked struct{ System }

func (blocked) spliceTo(*Pipe, int) (int, error) { return 0, ErrKeyExpired }

func (blocked) Report() *Report { return new(Report) }

func (blocked) RefreshRX() error { return syscall.EBUSY }

// TestSpliceBlocked checks that a splice which nothing can unblock fails for
// good, as Receive does, and carries the alert.
func TestSpliceBlocked(t *testing.T) {
	s := NewSocket(blocked{})
	for range 2 {
		if _, err := s.SpliceTo(nil, 1); !errors.Is(err, ErrKeyExpired) || alert.Of(err) != alert.UnexpectedMessage {
			t.Errorf("%v", err)
		}
	}
	if _, _, _, err := s.Receive(make([]byte, 1)); !errors.Is(err, ErrKeyExpired) {
		t.Errorf("Receive: %v", err)
	}
}
