package bench

import (
	"context"
	"fmt"
	"time"
)

// Gate is a bound that a change must not break: below what is measured today by
// a margin for noise, or exactly that where it is counted.
type Gate struct {
	Case string
	Unit string
	// Ratio is how many times better than crypto/tls ours must be, at least; 0
	// for no bound.
	Ratio float64
	// Most is how much of the unit there may be, at most, where that is counted.
	Most float64
	// Why says where the bound comes from.
	Why string
}

// noise is what a ratio of CPU times may be off by, in a short run on a machine
// that does other work: what is measured today times this is a ratio's bound.
const noise = 0.85

// Options of the gate: a short run first, and a longer one for what has failed
// in it, as a busy machine can make a few samples say anything.
var (
	gateFirst  = Options{Pairs: 5, Sample: 40 * time.Millisecond}
	gateSecond = Options{Pairs: 15, Sample: 100 * time.Millisecond}
)

// Check plays a case and returns what breaks its bounds, after a second try.
func (c Case) Check(ctx context.Context, gates []Gate) (broken []string, err error) {
	for _, o := range []Options{gateFirst, gateSecond} {
		r, err := Run(ctx, c, o)
		if err != nil {
			return nil, err
		}
		broken = nil
		for _, g := range gates {
			if text := g.check(r); text != "" {
				broken = append(broken, text)
			}
		}
		if len(broken) == 0 {
			return nil, nil
		}
	}
	return broken, nil
}

// check says how a result breaks the bound, if it does.
func (g Gate) check(r *Result) string {
	if len(r.Values(Ours, g.Unit)) == 0 {
		return fmt.Sprintf("%s: no %s was measured", g.Case, g.Unit)
	}
	if g.Ratio > 0 {
		if ratio := r.Ratio(Ours, g.Unit); ratio < g.Ratio {
			return fmt.Sprintf("%s: %s is %.2f times as good as crypto/tls's, at least %.2f is asked for: %s", g.Case, g.Unit, ratio, g.Ratio, g.Why)
		}
		return ""
	}
	// Of what is counted the least is exact: more comes from elsewhere.
	if least := r.Least(Ours, g.Unit); least > g.Most+background {
		return fmt.Sprintf("%s: %.1f %s, at most %.0f are allowed: %s", g.Case, least, g.Unit, g.Most, g.Why)
	}
	return ""
}

// Gates are the bounds. Those on handshakes and on connections that are idle come
// from measurements; counts are exact.
var Gates = []Gate{
	{Case: "HS13Full/x25519-p256", Unit: "cpu-ns/op", Ratio: 1.29 * noise, Why: "X25519 is circl's"},
	{Case: "HS13Full/x25519-p256", Unit: "server-allocs/op", Most: 110, Why: "what is asked for"},
	{Case: "HS13Full/x25519-p256", Unit: "client-allocs/op", Most: 120, Why: "what is asked for"},
	{Case: "HS13Full/x25519-p256", Unit: "server-writes/op", Most: 2, Why: "one flight, ticket included, and the byte"},
	{Case: "HS13Full/x25519-p256", Unit: "client-writes/op", Most: 2, Why: "ClientHello, and the second flight"},
	{Case: "HS13Full/mlkem768-p256", Unit: "cpu-ns/op", Ratio: 1.60 * noise, Why: "ML-KEM is circl's"},
	{Case: "HS13Mutual/x25519-p256", Unit: "cpu-ns/op", Ratio: 1.22 * noise, Why: "most of it is signatures"},
	{Case: "HS13Resume/x25519", Unit: "cpu-ns/op", Ratio: 1.53 * noise, Why: "no signatures, so the key schedule and messages count"},
	{Case: "HS13Resume/x25519", Unit: "server-allocs/op", Most: 60, Why: "what is asked for"},
	{Case: "HS13Resume/x25519", Unit: "client-allocs/op", Most: 60, Why: "what is asked for"},
	{Case: "HS12Full/x25519-p256", Unit: "cpu-ns/op", Ratio: 1.31 * noise, Why: "X25519 is circl's"},
	{Case: "HS12Full/x25519-p256", Unit: "server-writes/op", Most: 3, Why: "two flights and the byte"},
	{Case: "HS12Resume", Unit: "cpu-ns/op", Ratio: 1.50 * noise, Why: "no public keys at all"},

	{Case: "BulkWrite100B/13-aes128", Unit: "cpu-ns/op", Ratio: 0.95 * noise, Why: "measured; that it is below 1 is to be mended"},
	{Case: "BulkWrite16K/13-aes128", Unit: "cpu-ns/op", Ratio: 0.98 * noise, Why: "nearly all is the AEAD, the same for both"},
	{Case: "BulkRead100B/13-aes128", Unit: "cpu-ns/op", Ratio: 1.00 * noise, Why: "measured"},
	{Case: "BulkRead16K/13-aes128", Unit: "cpu-ns/op", Ratio: 1.03 * noise, Why: "nearly all is the AEAD, the same for both"},
	{Case: "BulkWrite16K/13-aes128", Unit: "allocs/op", Why: "buffers come from a pool"},
	{Case: "BulkRead16K/13-aes128", Unit: "allocs/op", Why: "buffers come from a pool"},
	{Case: "BulkWrite100B/13-aes128", Unit: "allocs/op", Why: "buffers come from a pool"},
	{Case: "BulkRead100B/13-aes128", Unit: "allocs/op", Why: "buffers come from a pool"},
	{Case: "BulkWrite16K/12-aes128", Unit: "allocs/op", Why: "buffers come from a pool"},
	{Case: "BulkRead16K/12-aes128", Unit: "allocs/op", Why: "buffers come from a pool"},
	{Case: "BulkWrite16K/13-chacha20", Unit: "allocs/op", Why: "buffers come from a pool"},
	{Case: "BulkRead16K/13-chacha20", Unit: "allocs/op", Why: "buffers come from a pool"},

	{Case: "BulkWrite64K/13-aes128", Unit: "cpu-ns/op", Ratio: 0.70, Why: "what the kernel charges for a socket varies by 40 %"},
	{Case: "FirstBytes64K/13-aes128", Unit: "writes/op", Most: 2, Why: "what is asked for"},
	{Case: "FirstBytes64K/13-aes128", Unit: "cpu-ns/op", Ratio: 1.40, Why: "2 writes where crypto/tls needs 11"},
	{Case: "RR1K/answers", Unit: "p50-ns/op", Ratio: 0.75, Why: "a time on the clock, of two processes"},
	{Case: "RR1K/answers", Unit: "allocs/op", Why: "buffers come from a pool"},
	{Case: "FileServe/http1", Unit: "syscalls/MB", Ratio: 2, Why: "four records are one Write"},

	{Case: "IdleHeap13/fresh", Unit: "server-heap-B/conn", Most: 3800, Why: "measured, with what few connections share"},
	{Case: "IdleHeap13/after16K", Unit: "server-heap-B/conn", Most: 3800, Why: "no buffer stays with an idle connection"},
	{Case: "IdleHeap13/after16K", Unit: "server-heap-B/conn", Ratio: 3, Why: "no buffer stays with an idle connection"},
}
