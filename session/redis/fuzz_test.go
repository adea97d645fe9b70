//go:build unix

package redis

import (
	"bytes"
	"testing"
)

// FuzzDecode gives a Ring anything that may be in Redis: what is accepted is what
// was kept, to the byte.
func FuzzDecode(f *testing.F) {
	f.Add(encode([]byte("keys"), string(make([]byte, versionLen))))
	f.Add("")
	f.Add(string(make([]byte, headLen)))
	f.Fuzz(func(t *testing.T, kept string) {
		b, version, ok := decode(kept)
		if !ok {
			return
		}
		if again := encode(b, version); again != kept || !bytes.Equal([]byte(again[headLen:]), b) {
			t.Errorf("%q is not what is encoded as %q", kept, again)
		}
	})
}
