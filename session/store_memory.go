package session

import (
	"bytes"
	"container/heap"
	"container/list"
	"context"
	"sync"
	"time"
)

// MemoryStore is a [Store] for one process. The least recently used value goes
// first when it is full; marks stay until they expire. It never waits.
type MemoryStore struct {
	// Time returns the current time; nil means [time.Now]. It must not change
	// once the store is used.
	Time func() time.Time

	made time.Time

	mu       sync.Mutex
	capacity int
	order    *list.List // of *memoryValue, most recently used first
	values   map[string]*list.Element
	marks    map[string]time.Time // until when
	expiries expiries             // of marks, those that were deleted included
}

type memoryValue struct {
	key   string
	value []byte
	until time.Time
}

// NewMemoryStore returns a store for so many values and as many marks; less
// than one means 20000.
func NewMemoryStore(capacity int) *MemoryStore {
	if capacity < 1 {
		capacity = defaultServerCapacity
	}
	return &MemoryStore{
		made:     time.Now(),
		capacity: capacity,
		order:    list.New(),
		values:   make(map[string]*list.Element),
		marks:    make(map[string]time.Time),
	}
}

// Since returns when the store was made: it remembers nothing from before.
func (m *MemoryStore) Since() time.Time { return m.made }

// Get implements [Store].
func (m *MemoryStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.live(key)
	if v == nil {
		return nil, nil
	}
	return bytes.Clone(v.value), nil
}

// Put implements [Store].
func (m *MemoryStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := checkStore(ctx, ttl); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(m.values[key])
	if len(m.values) >= m.capacity {
		m.remove(m.order.Back())
	}
	v := &memoryValue{key: key, value: append([]byte{}, value...), until: m.now().Add(ttl)}
	m.values[key] = m.order.PushFront(v)
	return nil
}

// TakeOnce implements [Store].
func (m *MemoryStore) TakeOnce(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.live(key)
	if v == nil {
		return nil, nil
	}
	m.remove(m.values[key])
	return v.value, nil
}

// Add implements [Store].
func (m *MemoryStore) Add(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if err := checkStore(ctx, ttl); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.expireMarks(now)
	if _, marked := m.marks[key]; marked {
		return false, nil
	}
	if len(m.expiries) >= m.capacity {
		return false, ErrFull
	}
	until := now.Add(ttl)
	m.marks[key] = until
	heap.Push(&m.expiries, expiry{key, until})
	return true, nil
}

// Delete implements [Store].
func (m *MemoryStore) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(m.values[key])
	delete(m.marks, key)
	return nil
}

// Len returns the number of values and marks in the store.
func (m *MemoryStore) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.values) + len(m.marks)
}

func (m *MemoryStore) now() time.Time {
	if m.Time != nil {
		return m.Time()
	}
	return time.Now()
}

// live returns the value under key unless it has expired.
func (m *MemoryStore) live(key string) *memoryValue {
	e := m.values[key]
	if e == nil {
		return nil
	}
	v := e.Value.(*memoryValue)
	if !m.now().Before(v.until) {
		m.remove(e)
		return nil
	}
	m.order.MoveToFront(e)
	return v
}

func (m *MemoryStore) remove(e *list.Element) {
	if e != nil {
		delete(m.values, m.order.Remove(e).(*memoryValue).key)
	}
}

// expireMarks forgets the marks whose time is over. One that was deleted and
// made again has a later time than its first entry says.
func (m *MemoryStore) expireMarks(now time.Time) {
	for len(m.expiries) > 0 && !now.Before(m.expiries[0].until) {
		e := heap.Pop(&m.expiries).(expiry)
		if until, ok := m.marks[e.key]; ok && !now.Before(until) {
			delete(m.marks, e.key)
		}
	}
}

func checkStore(ctx context.Context, ttl time.Duration) error {
	if ttl <= 0 {
		return ErrTTL
	}
	return ctx.Err()
}

type expiry struct {
	key   string
	until time.Time
}

// expiries is a heap for container/heap, the soonest first.
type expiries []expiry

func (h expiries) Len() int           { return len(h) }
func (h expiries) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h expiries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiries) Push(x any)        { *h = append(*h, x.(expiry)) }

func (h *expiries) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = expiry{}
	*h = (*h)[:last]
	return e
}
