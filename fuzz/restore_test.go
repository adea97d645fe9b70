package fuzz

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// FuzzRestore makes engines of bytes that are not an engine's. What is refused
// is a decode_error or the alert of a message that is not legal; what is not is
// an engine that works, and that is the same engine after it has moved again.
func FuzzRestore(f *testing.F) {
	for mode := range byte(2 * modeCompress) {
		client, server := newParties(f, mode)
		for client.step() {
		}
		for _, p := range []*party{client, server} {
			b, err := p.Suspend()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, []byte{4, 0, 0})
			f.Add(b, []byte{24, 0, 0, 1, 1})
		}
	}
	f.Fuzz(func(t *testing.T, b, message []byte) {
		e, err := handshake.Restore(restoreConfig(), b)
		if err != nil {
			if a := handshake.AlertOf(err); a != alert.DecodeError && a != alert.UnexpectedMessage {
				t.Fatalf("refused by %v", err)
			}
			return
		}
		if !e.Established() || e.State().Suite == nil || e.State().Suite.Version != e.State().Version {
			t.Fatalf("restored %+v", e.State())
		}
		again, err := e.Suspend()
		if err != nil {
			t.Fatalf("what was restored cannot be suspended: %v", err)
		}
		if e, err = handshake.Restore(restoreConfig(), again); err != nil {
			t.Fatalf("what was suspended cannot be restored: %v", err)
		}
		useEngine(t, e, message)
	})
}

func restoreConfig() *handshake.Config {
	return &handshake.Config{
		Rand: rand.NewChaCha8([32]byte{}), Time: func() time.Time { return engineNow }, AcceptSessions: true,
	}
}

// useEngine does with an engine what a connection would.
func useEngine(t *testing.T, e *handshake.Engine, message []byte) {
	t.Helper()
	exported, err := e.ExportKeyingMaterial("label", nil, 32)
	again, _ := e.ExportKeyingMaterial("label", nil, 32)
	if !bytes.Equal(exported, again) || err == nil && len(exported) != 32 {
		t.Fatalf("exports %x and %x, %v", exported, again, err)
	}
	if err := e.RequestKeyUpdate(); err == nil && e.State().Version != keyschedule.VersionTLS13 {
		t.Fatal("KeyUpdate in TLS 1.2")
	}
	_ = e.Handle(handshake.LevelApplication, message)
	for {
		if _, ok := e.NextEvent(); !ok {
			return
		}
	}
}
