package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"hash/maphash"
	"math/big"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"
)

func newDER(t *testing.T, serial int64) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParse(t *testing.T) {
	one, two := newDER(t, 1), newDER(t, 2)
	first, err := Parse(one)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Parse(append([]byte(nil), one...)); err != nil || again != first {
		t.Errorf("the same certificate parsed twice: %p and %p, %v", first, again, err)
	}
	if other, err := Parse(two); err != nil || other == first || other.SerialNumber.Int64() != 2 {
		t.Errorf("another certificate: %v, %v", other, err)
	}
	if cert, err := Parse(one[:len(one)-1]); err == nil {
		t.Errorf("half a certificate: %v", cert)
	}
	runtime.KeepAlive(first)
}

// TestAfterCollection parses a certificate again when it was collected but its place
// here was not cleaned up yet, and one whose place another has.
func TestAfterCollection(t *testing.T) {
	der := newDER(t, 4)
	key := maphash.Bytes(seed, der)
	parsed.Store(key, weak.Pointer[x509.Certificate]{})
	first, err := Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Parse(der); err != nil || again != first {
		t.Errorf("parsed twice: %p and %p, %v", first, again, err)
	}
	other, err := x509.ParseCertificate(newDER(t, 5))
	if err != nil {
		t.Fatal(err)
	}
	parsed.Store(key, weak.Make(other))
	defer parsed.Delete(key)
	if cert, err := Parse(der); err != nil || cert.SerialNumber.Int64() != 4 {
		t.Errorf("where another is: %v, %v", cert, err)
	}
	runtime.KeepAlive(first)
	runtime.KeepAlive(other)
}

// TestForgets parses certificates that nobody keeps, from several goroutines.
func TestForgets(t *testing.T) {
	der := newDER(t, 3)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if _, err := Parse(der); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range 1000 {
		runtime.GC()
		n := 0
		parsed.Range(func(any, any) bool { n++; return true })
		if n == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("certificates that nobody uses are still there")
}

func BenchmarkParse(b *testing.B) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	cert, _ := Parse(der)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(der); err != nil {
			b.Fatal(err)
		}
	}
	runtime.KeepAlive(cert)
}
