//go:build unix

package tls

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/kernel/kerneltest"
)

// TestHandoverNonsense adopts what somebody sealed who has the key and no idea:
// whatever becomes of it, nothing panics, nor does what is adopted.
func TestHandoverNonsense(t *testing.T) {
	values := []byte{0, 0xff}
	for _, policy := range []kernel.Policy{{TX: kernel.Off}, both} {
		forEachVersion(t, func(t *testing.T, v uint16) {
			client, server := kernelConfigs(v, policy)
			server.Kernel = policy
			c, s := connect(t, modelNetwork(kernel.RulesLinux, kerneltest.NoRekey()), client, server)
			echo(t, c, s)
			conn := c.(*Conn)
			plain := leavePlain(t, conn)
			adopted := 0
			try := func(b []byte) {
				h, err := parseHandover(bytes.Clone(b))
				if err != nil {
					return
				}
				next, err := h.adopt(conn.conn, blobID{byte(adopted), byte(adopted >> 8)}, GenerateHandoverKey(), client)
				if err != nil {
					return
				}
				adopted++
				_ = next.SetDeadline(time.Unix(1, 0))
				_, _ = next.Read(make([]byte, 10))
				_, _ = next.Write([]byte("x"))
				_ = next.KeyUpdate(t.Context())
				_, _, _ = next.Offload(), next.ConnectionState(), next.CloseWrite()
				_, _ = next.ExportKeyingMaterial("label", nil, 10)
			}
			for i := range plain {
				for _, b := range values {
					changed := bytes.Clone(plain)
					changed[i] = b
					try(changed)
				}
				try(plain[:i])
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				changed := bytes.Clone(plain)
				for range 1 + rng.IntN(8) {
					changed[rng.IntN(len(changed))] = byte(rng.Uint32())
				}
				try(changed)
			}
			t.Logf("%d of nonsense adopted", adopted)
		})
	}
}

// leavePlain ends conn as Detach does, and returns what it would seal.
func leavePlain(t *testing.T, conn *Conn) []byte {
	t.Helper()
	key := GenerateHandoverKey()
	env, err := key.newEnvelope(conn.config.rand())
	if err != nil {
		t.Fatal(err)
	}
	conn.in.Lock()
	defer conn.in.Unlock()
	conn.out.Lock()
	defer conn.out.Unlock()
	blob, err := conn.leave(env, identify(conn.conn))
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := key.open(blob)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}
