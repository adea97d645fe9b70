package session

import (
	"bytes"
	"context"
	"strconv"
	"sync"
)

// RingSource is where the keys of several rings are kept. What it keeps is
// sealed: it learns no key. Its methods may be called concurrently, and must
// return when their context ends: a ring asks one thing at a time.
//
// A source that is also a [fmt.Stringer] has a name in [KeyRing.Status].
type RingSource interface {
	// Load returns what is kept and its version: a name that it shares with
	// nothing else that is or was kept here, and that is not empty. If nothing
	// is kept, b is nil and version is empty.
	Load(ctx context.Context) (b []byte, version string, err error)
	// Replace keeps b in the place of what has the old version, and returns
	// b's. An empty version stands for nothing. If something else is kept by
	// now it changes nothing, and ok is false. No two calls, on any machine,
	// may replace the same version.
	Replace(ctx context.Context, old string, b []byte) (version string, ok bool, err error)
}

// MemoryRing is a [RingSource] for the servers of one process, and for tests.
// The zero value is empty and ready for use.
type MemoryRing struct {
	mu      sync.Mutex
	b       []byte
	version uint64
}

// Load implements [RingSource].
func (m *MemoryRing) Load(ctx context.Context) (b []byte, version string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.b), m.name(), nil
}

// Replace implements [RingSource].
func (m *MemoryRing) Replace(ctx context.Context, old string, b []byte) (version string, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return "", false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old != m.name() {
		return "", false, nil
	}
	m.b = append([]byte{}, b...)
	m.version++
	return m.name(), true, nil
}

// String returns "memory".
func (m *MemoryRing) String() string { return "memory" }

func (m *MemoryRing) name() string {
	if m.b == nil {
		return ""
	}
	return strconv.FormatUint(m.version, 10)
}
