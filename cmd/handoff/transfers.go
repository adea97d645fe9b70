package main

import (
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// transfers are the requests that a server is answering.
type transfers struct {
	n    atomic.Int64
	live live
	told *surprises // nil if nothing is one
}

// watch counts requests while they run, and logs each when it is done.
func (t *transfers) watch(next http.Handler, logger *log.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.n.Add(1)
		defer t.n.Add(-1)
		cw := &countingWriter{ResponseWriter: w, status: http.StatusOK, total: &t.live.sent}
		next.ServeHTTP(cw, r)
		if t.told != nil {
			t.told.look(connOf(r).Offload().TX, r.Proto, cw.bytes)
		}
		logger.Printf("%s %s %q %d %s, %s", r.RemoteAddr, r.Method, r.URL.Path, cw.status, cw.sent(r.Method), summary(connOf(r)))
	})
}

func (t *transfers) running() int64 { return t.n.Load() }

// The bounds of wait.
const (
	cutTimeout = time.Second
	cutPoll    = 5 * time.Millisecond
)

// wait waits until transfers whose connections were closed have noticed.
func (t *transfers) wait() {
	for end := time.Now().Add(cutTimeout); t.running() > 0 && time.Now().Before(end); {
		time.Sleep(cutPoll)
	}
}

// count returns a number with what it counts.
func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// countingWriter remembers what was answered.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
	total  *atomic.Int64 // of all responses
}

func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.count(int64(n))
	return n, err
}

func (w *countingWriter) count(n int64) {
	w.bytes += n
	w.total.Add(n)
}

// countEvery is how much is sent before it is counted.
const countEvery = 4 << 20

// ReadFrom lets whole files reach the connection, which knows best what to do
// with them.
func (w *countingWriter) ReadFrom(r io.Reader) (n int64, err error) {
	src, ok := r.(*io.LimitedReader)
	if !ok {
		src = &io.LimitedReader{R: r, N: math.MaxInt64}
	}
	for src.N > 0 {
		// The connection looks for a file in one LimitedReader, not in two.
		m, err := io.Copy(w.ResponseWriter, &io.LimitedReader{R: src.R, N: min(src.N, countEvery)})
		w.count(m)
		n += m
		src.N -= m
		if err != nil || m == 0 {
			return n, err
		}
	}
	return n, nil
}

// Unwrap lets net/http's ResponseController through.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// sent says how many bytes of the body were sent, and of how many if that is not
// all.
func (w *countingWriter) sent(method string) string {
	if method == http.MethodHead {
		return "0 bytes" // net/http drops what handlers write
	}
	whole, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	if err == nil && w.bytes < whole {
		return fmt.Sprintf("cut off after %d of %d bytes", w.bytes, whole)
	}
	return fmt.Sprintf("%d bytes", w.bytes)
}
