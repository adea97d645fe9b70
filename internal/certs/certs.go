// Package certs parses certificates, each once for as long as somebody uses it.
//
// A server meets the certificates of its clients, and a client those of its
// servers, again and again, and many connections hold the same ones at one
// time. What is shared must not be changed, which holds for the certificates
// that crypto/tls returns, too.
package certs

import (
	"bytes"
	"crypto/x509"
	"hash/maphash"
	"runtime"
	"sync"
	"weak"
)

// parsed holds the certificates in use, by a hash of their DER. The pointers
// are weak: what no connection holds any more is collected, and so takes no room
// here for long, whatever peers send.
var (
	parsed sync.Map // of uint64 to weak.Pointer[x509.Certificate]
	seed   = maphash.MakeSeed()
)

// Parse returns the certificate of der, of which it keeps the memory. The caller must
// change neither.
func Parse(der []byte) (*x509.Certificate, error) {
	key := maphash.Bytes(seed, der)
	known, there := parsed.Load(key)
	if there {
		if cert := shared(known, der); cert != nil {
			return cert, nil
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pointer := weak.Make(cert)
	if known, there = parsed.LoadOrStore(key, pointer); there {
		if first := shared(known, der); first != nil {
			return first, nil // another goroutine was faster
		}
		// Two certificates may have one hash: then the second is not kept. But one
		// that is collected, and whose cleanup has still to come, is not in the way.
		if known.(weak.Pointer[x509.Certificate]).Value() != nil || !parsed.CompareAndSwap(key, known, pointer) {
			return cert, nil
		}
	}
	runtime.AddCleanup(cert, func(key uint64) { parsed.CompareAndDelete(key, pointer) }, key)
	return cert, nil
}

// shared returns the certificate that known points to, if it is that of der and was not
// collected.
func shared(known any, der []byte) *x509.Certificate {
	if cert := known.(weak.Pointer[x509.Certificate]).Value(); cert != nil && bytes.Equal(cert.Raw, der) {
		return cert
	}
	return nil
}
