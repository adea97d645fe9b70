package tls

import (
	"context"
	"testing"
)

func TestScope(t *testing.T) {
	type key struct{}
	parent := context.WithValue(context.Background(), key{}, 1)
	for _, asks := range []bool{true, false} {
		s := &scope{Context: parent}
		if asks {
			select {
			case <-s.Done():
				t.Error("ended at once")
			default:
			}
		}
		child, cancel := context.WithCancel(s)
		if s.Err() != nil || child.Err() != nil || child.Value(key{}) != 1 {
			t.Errorf("at first: %v, %v, value %v", s.Err(), child.Err(), child.Value(key{}))
		}
		s.end()
		<-s.Done()
		<-child.Done()
		if s.Err() != context.Canceled || child.Err() != context.Canceled {
			t.Errorf("at its end: %v, %v", s.Err(), child.Err())
		}
		cancel()
	}
}
