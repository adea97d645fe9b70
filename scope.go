package tls

import (
	"context"
	"sync"
)

// scope is a context that ends when a function does, below one that never ends: it
// is what callbacks get in most handshakes, where nobody asks whether it has ended.
// context.WithCancel would make for each what only those need who ask.
type scope struct {
	context.Context

	mutex sync.Mutex
	over  bool
	done  chan struct{} // nil until somebody asks for it
}

// end ends the context.
func (s *scope) end() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.over = true
	if s.done != nil {
		close(s.done)
	}
}

// Done implements [context.Context].
func (s *scope) Done() <-chan struct{} {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.over {
			close(s.done)
		}
	}
	return s.done
}

// Err implements [context.Context].
func (s *scope) Err() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.over {
		return context.Canceled
	}
	return nil
}
