package record

import "testing"

// TestAnyMinorVersion: before the version is settled, a record may bear any of
// major version 3 (RFC 5246, appendix E.1).
func TestAnyMinorVersion(t *testing.T) {
	for minor := range 256 {
		rec := []byte{22, 3, byte(minor), 0, 2, 1, 0}
		var o Opener
		if n, err := o.Need(rec); n != len(rec) || err != nil {
			t.Fatalf("version 3, %d: %d bytes, %v", minor, n, err)
		}
		checkBytes(t, "content", openAll(t, &o, rec, Handshake), []byte{1, 0})
	}
}
