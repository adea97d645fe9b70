package bogo

import (
	"bytes"
	"crypto/rand"
	"errors"

	"github.com/go-handoff/tls"
)

// The runner's algorithms for certificate compression, in order of preference.
var compressors = []tls.CertificateCompressor{
	prefixed(0xff02, func([]byte) ([]byte, error) { return []byte{1, 2, 3, 4}, nil }, 4),
	{
		ID: 0xff01,
		Compress: func(b []byte) ([]byte, error) {
			if !bytes.HasPrefix(b, []byte{0, 0}) {
				return nil, errCompression
			}
			return b[2:], nil
		},
		Decompress: func(b []byte, size int) ([]byte, error) {
			if size != len(b)+2 {
				return nil, errCompression
			}
			return append([]byte{0, 0}, b...), nil
		},
	},
	prefixed(0xff03, func(b []byte) ([]byte, error) { _, err := rand.Read(b); return b, err }, 1),
}

var errCompression = errors.New("cannot be compressed like this")

// prefixed is an algorithm that puts n bytes in front.
func prefixed(id uint16, prefix func([]byte) ([]byte, error), n int) tls.CertificateCompressor {
	return tls.CertificateCompressor{
		ID: id,
		Compress: func(b []byte) ([]byte, error) {
			p, err := prefix(make([]byte, n))
			return append(p, b...), err
		},
		Decompress: func(b []byte, size int) ([]byte, error) {
			if size != len(b)-n {
				return nil, errCompression
			}
			return b[n:], nil
		},
	}
}

func (o *options) compression(c *tls.Config) {
	for _, z := range compressors {
		if o.bools["install-cert-compression-algs"] || o.ints["install-one-cert-compression-alg"] == int(z.ID) {
			c.CertificateCompressors = append(c.CertificateCompressors, z)
		}
	}
}
