package session_test

import (
	"testing"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

func TestMemoryRing(t *testing.T) {
	sessiontest.TestRingSource(t, func(*testing.T) sessiontest.RingSources {
		m := new(session.MemoryRing)
		return sessiontest.RingSources{A: m, B: m}
	})
}
