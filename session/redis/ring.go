package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/go-handoff/tls/session"
)

const (
	defaultRingTTL = 7 * 24 * time.Hour
	// maxRing is far more than any ring's keys need, so that a wrong key does
	// not fill the memory.
	maxRing = 64 << 10
	// versionLen is the length of what rand.Text returns.
	versionLen = 26
	headLen    = versionLen + sha256.Size
)

// Ring keeps the keys of rings in one key of Redis: a version, which is random,
// the SHA-256 of it and of what is sealed, and that. It implements
// [session.RingSource].
//
// When Redis has lost the key, or has one from before, rings that run put back
// what they have. So do they while two servers both think that they are the
// master; the keys with more rotations are what all have in the end.
type Ring struct {
	// TTL is how long the key stays that nobody replaces, so that what seals the
	// tickets of a fleet does not outlive it for ever; 0 means seven days. It
	// should be at least twice the Interval of the rings: they replace the key
	// once in an Interval. If it expires while they run, they put it back, but
	// one that is started just then may have made other keys. To load it does
	// not keep it longer: then each ring would write each time it looks. It must
	// not change once the Ring is used.
	TTL time.Duration

	client goredis.UniversalClient
	key    string
	calls  calls
}

// NewRing returns the Ring in a key, which need not exist yet. The caller closes
// the client.
func NewRing(client goredis.UniversalClient, key string) *Ring {
	return &Ring{client: client, key: key, calls: newCalls()}
}

// String returns "redis:" and the key.
func (r *Ring) String() string { return "redis:" + r.key }

// Load implements [session.RingSource].
func (r *Ring) Load(ctx context.Context) (b []byte, version string, err error) {
	kept, err := call(ctx, r.calls, func(ctx context.Context) (string, error) {
		return r.client.GetRange(ctx, r.key, 0, headLen+maxRing).Result() // one byte more than there may be
	})
	switch {
	case err != nil:
		return nil, "", err
	case kept == "":
		return nil, "", nil
	case len(kept) > headLen+maxRing:
		return nil, "", fmt.Errorf("session/redis: what is under %q is longer than %d bytes", r.key, headLen+maxRing)
	}
	b, version, ok := decode(kept)
	if !ok {
		return nil, "", fmt.Errorf("session/redis: what is under %q is damaged, or is not the keys of a ring", r.key)
	}
	return b, version, nil
}

// encode returns b as it is kept.
func encode(b []byte, version string) string {
	sum := checksum(b, version)
	return version + string(sum[:]) + string(b)
}

func decode(kept string) (b []byte, version string, ok bool) {
	if len(kept) < headLen {
		return nil, "", false
	}
	b, version = []byte(kept[headLen:]), kept[:versionLen]
	sum := checksum(b, version)
	return b, version, kept[versionLen:headLen] == string(sum[:])
}

// checksum makes damage visible to rings that know the version already. Against
// an attacker what is kept is sealed.
func checksum(b []byte, version string) [sha256.Size]byte {
	return sha256.Sum256(append([]byte(version), b...))
}

// Replace implements [session.RingSource].
func (r *Ring) Replace(ctx context.Context, old string, b []byte) (version string, ok bool, err error) {
	if len(b) > maxRing {
		return "", false, fmt.Errorf("session/redis: keys of a ring of %d bytes are too large", len(b))
	}
	version = rand.Text()
	kept := encode(b, version)
	ok, err = call(ctx, r.calls, func(ctx context.Context) (bool, error) {
		return replaceScript.Run(ctx, r.client, []string{r.key}, old, version, kept, milliseconds(r.ttl())).Bool()
	})
	if !ok || err != nil {
		return "", false, err
	}
	return version, true, nil
}

func (r *Ring) ttl() time.Duration {
	if r.TTL > 0 {
		return r.TTL
	}
	return defaultRingTTL
}

var _ session.RingSource = (*Ring)(nil)
