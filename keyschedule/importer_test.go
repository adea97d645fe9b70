package keyschedule

import (
	"bytes"
	"crypto/hkdf"
	"testing"
)

// TestImportPSK makes identity and key a second time, by hand, from the text of
// RFC 9258, section 5: it has no vectors.
func TestImportPSK(t *testing.T) {
	epsk, identity, context := []byte("a key of any length"), []byte("client 7"), []byte("context")
	for _, h := range bothHashes {
		for _, target := range bothHashes {
			for _, context := range [][]byte{nil, context} {
				wantID := "\x00\x08client 7\x00" + string([]byte{byte(len(context))}) + string(context) +
					"\x03\x04\x00" + string([]byte{byte(target)})
				digest := h.New()
				digest.Write([]byte(wantID))
				epskx, err := hkdf.Extract(h.New, epsk, nil)
				if err != nil {
					t.Fatal(err)
				}
				want, err := hkdf.Expand(h.New, epskx, label13(target.Size(), "derived psk", digest.Sum(nil)), target.Size())
				if err != nil {
					t.Fatal(err)
				}
				id, psk, err := ImportPSK(h, epsk, identity, context, target)
				if err != nil || string(id) != wantID || !bytes.Equal(psk.Bytes(), want) {
					t.Errorf("hash %d to %d: %q, %x, %v; want %q, %x", h, target, id, psk.Bytes(), err, wantID, want)
				}
			}
		}
	}
}

func TestImportPSKRefuses(t *testing.T) {
	key := []byte("key")
	for name, err := range map[string]error{
		"no identity":  importError(key, nil, nil),
		"no key":       importError(nil, key, nil),
		"one too long": importError(key, make([]byte, 1<<15), make([]byte, 1<<15-8)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	id, _, err := ImportPSK(SHA256, key, make([]byte, 1<<15), make([]byte, 1<<15-9), SHA256)
	if err != nil || len(id) != 1<<16-1 {
		t.Errorf("longest identity: %d bytes, %v", len(id), err)
	}
}

func importError(epsk, identity, context []byte) error {
	_, _, err := ImportPSK(SHA256, epsk, identity, context, SHA256)
	return err
}

// TestBinderLabels: the three kinds of PSK have different binders (RFC 9846,
// section 7.1; RFC 9258, section 5.2).
func TestBinderLabels(t *testing.T) {
	for _, h := range bothHashes {
		psk := count(1, h.Size())
		early, err := hkdf.Extract(h.New, psk, nil)
		if err != nil {
			t.Fatal(err)
		}
		for kind, label := range map[PSKKind]string{ResumptionPSK: "res binder", ExternalPSK: "ext binder", ImportedPSK: "imp binder"} {
			want, err := hkdf.Expand(h.New, early, label13(h.Size(), label, h.New().Sum(nil)), h.Size())
			if err != nil {
				t.Fatal(err)
			}
			if got := NewEarly(h, psk).BinderKey(kind); !bytes.Equal(got.Bytes(), want) {
				t.Errorf("hash %d, %s: got %x, want %x", h, label, got.Bytes(), want)
			}
		}
	}
}
