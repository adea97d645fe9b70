package bench

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// Stack is what is measured.
type Stack string

// The stacks that every case can be played by.
const (
	Std  Stack = "std"  // crypto/tls of the Go release
	Ours Stack = "ours" // this module, in user space
)

// Case is one thing to measure.
type Case struct {
	// Name is the benchmark's name, without "Benchmark".
	Name string
	// Unit is what the stacks are compared by: less is better.
	Unit string
	// Target is the ratio std/ours of the medians of Unit that is asked for, 0
	// for none.
	Target float64
	// Open prepares what a stack needs to play the case.
	Open func(Stack) (*Player, error)
}

// Player plays a case with one stack.
type Player struct {
	// Play does the operation n times, and returns what each took on average.
	Play func(n int) (Figures, error)
	// Close ends what Open has begun; it may be nil.
	Close func()
}

func (p *Player) close() {
	if p != nil && p.Close != nil {
		p.Close()
	}
}

// Figures are measured values by unit, as in "server-allocs/op".
type Figures map[string]float64

// Options say how long to measure.
type Options struct {
	// Pairs is how many samples each stack gives; 0 means 9.
	Pairs int
	// Sample is how long a sample should take, about; 0 means 100 ms.
	Sample time.Duration
}

func (o Options) pairs() int {
	if o.Pairs == 0 {
		return 9
	}
	return o.Pairs
}

func (o Options) sample() time.Duration {
	if o.Sample == 0 {
		return 100 * time.Millisecond
	}
	return o.Sample
}

// Result is what a case gave.
type Result struct {
	Case    Case
	N       int // operations of one sample
	Samples map[Stack][]Figures
}

// Run plays a case by both stacks in turn.
func Run(c Case, o Options) (*Result, error) {
	players := map[Stack]*Player{}
	defer func() {
		for p := range maps.Values(players) {
			p.close()
		}
	}()
	for _, s := range []Stack{Std, Ours} {
		p, err := c.Open(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c.Name, s, err)
		}
		players[s] = p
	}
	n, err := calibrate(players, o.sample())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	r := &Result{Case: c, N: n, Samples: map[Stack][]Figures{}}
	for range o.pairs() {
		for _, s := range []Stack{Std, Ours} {
			f, err := players[s].Play(n)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", c.Name, s, err)
			}
			r.Samples[s] = append(r.Samples[s], f)
		}
	}
	return r, nil
}

// calibrate warms both stacks up, and returns how many operations the slower
// one does in the time of a sample.
func calibrate(players map[Stack]*Player, sample time.Duration) (int, error) {
	for n := 1; ; {
		var took time.Duration
		for s, p := range players {
			start := time.Now()
			if _, err := p.Play(n); err != nil {
				return 0, fmt.Errorf("%s: %w", s, err)
			}
			took = max(took, time.Since(start))
		}
		if took >= sample/2 {
			return max(1, int(float64(n)*float64(sample)/float64(took))), nil
		}
		if n > 1<<30 {
			return 0, errors.New("operations take no time")
		}
		n *= 2
	}
}
