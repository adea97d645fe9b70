package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"time"
)

// Stack is what is measured.
type Stack string

// The stacks that every case can be played by.
const (
	Std  Stack = "std"  // crypto/tls of the Go release
	Ours Stack = "ours" // this module, in user space
)

// The stacks that some cases can be played by.
const (
	Raw     Stack = "raw"     // the AEAD alone, as the bound of what a stack can do
	Kernel  Stack = "kernel"  // this module, with the sending side in the kernel
	OpenSSL Stack = "openssl" // in C, by package bench/openssl
	Rustls  Stack = "rustls"  // in Rust, by package bench/rustls
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
	// Also are other units that the stacks are compared by.
	Also []Goal
	// Most are targets for what is counted: how much of a unit Ours may have.
	Most map[string]float64
	// OfRaw is how much of Raw's speed is asked for, 0 for none.
	OfRaw float64
	// More are stacks beside Std and Ours. Kernel is played only if Options say
	// so.
	More []Stack
	// Once says that an operation is a whole measurement of its own, such as the
	// memory of a process: there is no use in doing it often, or many times.
	Once bool
	// Open prepares what a stack needs to play the case.
	Open func(Stack) (*Player, error)
}

// Goal is a ratio that is asked for, 0 for none, of the medians of a unit.
type Goal struct {
	Unit   string
	Target float64
}

// Goals returns what the stacks are compared by.
func (c Case) Goals() []Goal { return append([]Goal{{c.Unit, c.Target}}, c.Also...) }

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
	// Kernel says that the kernel has TLS, and is to be measured too.
	Kernel bool
}

// oncePairs is how often a Case is played, at most, that is Once.
const oncePairs = 2

func (o Options) pairs(c Case) int {
	n := o.Pairs
	if n == 0 {
		n = 9
	}
	if c.Once {
		n = min(n, oncePairs)
	}
	return n
}

func (o Options) stacks(c Case) []Stack {
	stacks := []Stack{Std, Ours}
	for _, s := range c.More {
		if s != Kernel || o.Kernel {
			stacks = append(stacks, s)
		}
	}
	return stacks
}

func (o Options) sample() time.Duration {
	if o.Sample == 0 {
		return 100 * time.Millisecond
	}
	return o.Sample
}

// Run plays a case by all of its stacks in turn, until ctx ends.
func Run(ctx context.Context, c Case, o Options) (*Result, error) {
	players := map[Stack]*Player{}
	defer func() {
		for p := range maps.Values(players) {
			p.close()
		}
	}()
	r := &Result{Case: c, Stacks: o.stacks(c), N: 1, Samples: map[Stack][]Figures{}}
	for _, s := range r.Stacks {
		p, err := c.Open(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c.Name, s, err)
		}
		players[s] = p
	}
	if !c.Once {
		var err error
		if r.N, err = calibrate(players, o.sample()); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	for range o.pairs(c) {
		for _, s := range r.Stacks {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			runtime.GC() // of what the other stack has left, and before the clock runs
			f, err := players[s].Play(r.N)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", c.Name, s, err)
			}
			r.Samples[s] = append(r.Samples[s], f)
		}
	}
	return r, nil
}

// calibrate warms all stacks up, and returns how many operations the slowest
// one does in the time of a sample.
func calibrate(players map[Stack]*Player, sample time.Duration) (int, error) {
	for n := 1; ; {
		var took time.Duration
		for s, p := range players {
			t, err := timeTwice(p, n)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", s, err)
			}
			took = max(took, t)
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

// longSample is so long that no chance makes it.
const longSample = 500 * time.Millisecond

// timeTwice returns the shorter of two times that n operations take: one alone
// may be that of a machine which was busy with something else.
func timeTwice(p *Player, n int) (time.Duration, error) {
	shorter := time.Duration(math.MaxInt64)
	for range 2 {
		start := time.Now()
		if _, err := p.Play(n); err != nil {
			return 0, err
		}
		if shorter = min(shorter, time.Since(start)); shorter >= longSample {
			break
		}
	}
	return shorter, nil
}
