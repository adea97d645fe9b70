package keyschedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// holders returns one of each type that holds secrets, each full of bytes A7.
func holders() map[string]any {
	secret := NewSecret(bytes.Repeat([]byte{0xA7}, MaxSecretLen))
	suite := SuiteByID(TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA)
	a7 := bytes.Repeat([]byte{0xA7}, 32)
	return map[string]any{
		"Secret":        &secret,
		"TrafficSecret": &TrafficSecret{secret},
		"TrafficKeys":   NewTrafficKeys(suite, a7, nil, a7[:20], 7),
		"keyMaterial":   &keyMaterial{key: [32]byte(a7)},
		"MasterSecret":  ResumeMasterSecret(SHA256, &secret),
		"Early":         &Early{h: SHA384, secret: secret},
		"Handshake":     &Handshake{h: SHA384, secret: secret},
		"Main":          &Main{h: SHA384, secret: secret},
		"Exporter":      &Exporter{h: SHA384, secret: secret},
		"Exporter12":    ResumeMasterSecret(SHA256, &secret).Exporter([32]byte{}, [32]byte{}),
	}
}

var (
	// fittingVerbs can show a pointer, allVerbs are those that cannot too.
	fittingVerbs = []string{"%v", "%+v", "%#v", "%x", "%X", "%d", "%o", "%b"}
	allVerbs     = append([]string{"%s", "%q", "%c", "%U", "%t", "%e"}, fittingVerbs...)
	// leaks are bytes A7 as some verb or encoding shows them.
	leaks = []string{"a7a7", "A7A7", "167 167", "167,167", "247 247", "10100111 10100111", "0xa7, 0xa7", "0xa7,0xa7", "p6en", `\xa7`, "\xa7\xa7", "§", "00A7", "%!t(uint8=167)", "%!e(uint8=167)"}
)

func leaksIn(s string) (found []string) {
	for _, leak := range leaks {
		if strings.Contains(s, leak) {
			found = append(found, leak)
		}
	}
	return found
}

func encodings(v any) string {
	var b strings.Builder
	_ = json.NewEncoder(&b).Encode(v)
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("", "v", v)
		slog.New(h).Info("", slog.Group("g", "v", v))
	}
	return b.String()
}

func TestLeaksAreNoticed(t *testing.T) {
	bare := struct{ b [8]byte }{[8]byte(bytes.Repeat([]byte{0xA7}, 8))}
	for _, verb := range allVerbs {
		if out := fmt.Sprintf(verb, bare); len(leaksIn(out)) == 0 {
			t.Errorf("%s of bare bytes is not noticed: %s", verb, out)
		}
	}
	if out := encodings(bare.b[:]); len(leaksIn(out)) == 0 {
		t.Errorf("encodings of bare bytes are not noticed: %s", out)
	}
}

// TestSecretsDoNotPrint: as they are, and wherever fmt may ask methods.
func TestSecretsDoNotPrint(t *testing.T) {
	type exported struct{ Field any }
	for name, v := range holders() {
		for where, v := range map[string]any{
			"pointer": v, "field": exported{v}, "pointer to field": &exported{v}, "slice": []any{v}, "map": map[string]any{"": v},
		} {
			for _, verb := range allVerbs {
				out := fmt.Sprintf(verb, v)
				if found := leaksIn(out); found != nil || !strings.Contains(out, "redacted") {
					t.Errorf("%s of %s in a %s: %s", verb, name, where, out)
				}
			}
			if out := encodings(v); leaksIn(out) != nil || !strings.Contains(out, "redacted") {
				t.Errorf("encodings of %s in a %s: %s", name, where, out)
			}
		}
	}
	for name, v := range map[string]any{
		"Secret":        struct{ Field Secret }{*holders()["Secret"].(*Secret)},
		"TrafficSecret": struct{ Field TrafficSecret }{*holders()["TrafficSecret"].(*TrafficSecret)},
		"by value":      *holders()["Secret"].(*Secret),
	} {
		for _, verb := range allVerbs {
			if out := fmt.Sprintf(verb, v); leaksIn(out) != nil {
				t.Errorf("%s of %s: %s", verb, name, out)
			}
		}
		if out := encodings(v); leaksIn(out) != nil {
			t.Errorf("encodings of %s: %s", name, out)
		}
	}
}

// TestSecretsInUnexportedFields: fmt asks no methods there. It does not follow
// a pointer for verbs that can show one; for others it shows what the pointer
// points to, so that what leaves this module must keep keys one pointer deeper.
func TestSecretsInUnexportedFields(t *testing.T) {
	for name, v := range holders() {
		verbs := fittingVerbs
		if name == "TrafficKeys" {
			verbs = allVerbs
		}
		for _, verb := range verbs {
			if out := fmt.Sprintf(verb, hide(v)); leaksIn(out) != nil {
				t.Errorf("%s of %s in an unexported field: %s", verb, name, out)
			}
		}
		if out := encodings(hide(v)); leaksIn(out) != nil {
			t.Errorf("encodings of %s in an unexported field: %s", name, out)
		}
	}
}

// hide puts v into an unexported field, of its own type where that matters.
func hide(v any) any {
	if keys, ok := v.(*TrafficKeys); ok {
		return struct{ k *TrafficKeys }{keys}
	}
	return struct{ v any }{v}
}

func TestSecret(t *testing.T) {
	b := count(1, 32)
	s := NewSecret(b)
	same, other, shorter := NewSecret(b), NewSecret(count(2, 32)), NewSecret(b[:31])
	b[0] = 99
	if s.Len() != 32 || !bytes.Equal(s.Bytes(), count(1, 32)) {
		t.Errorf("secret is %x", s.Bytes())
	}
	if !s.Equal(&same) || s.Equal(&other) || s.Equal(&shorter) || shorter.Equal(&s) {
		t.Error("Equal is wrong")
	}
	alias := s.Bytes()
	s.Wipe()
	if s.Len() != 0 || !bytes.Equal(alias, make([]byte, 32)) {
		t.Errorf("after Wipe: %x", alias)
	}
	defer func() {
		if recover() == nil {
			t.Error("a secret of 49 bytes is taken")
		}
	}()
	NewSecret(make([]byte, MaxSecretLen+1))
}

func TestNewTrafficKeys(t *testing.T) {
	for _, suite := range Suites() {
		key, iv, mac := count(1, suite.Cipher.KeyLen()), count(2, suite.fixedIVLen()), count(3, suite.Cipher.MACLen())
		k := NewTrafficKeys(suite, key, iv, mac, 42)
		if k == nil || k.Suite != suite || k.Seq != 42 || !bytes.Equal(k.Key(), key) || !bytes.Equal(k.IV(), iv) || !bytes.Equal(k.MACKey(), mac) {
			t.Errorf("%s: keys are not what was given", suite.Name)
			continue
		}
		for name, bad := range map[string]*TrafficKeys{
			"short key": NewTrafficKeys(suite, key[1:], iv, mac, 0), "long key": NewTrafficKeys(suite, append(key, 0), iv, mac, 0),
			"long IV": NewTrafficKeys(suite, key, append(iv, 0), mac, 0), "long MAC key": NewTrafficKeys(suite, key, iv, append(mac, 0), 0),
		} {
			if bad != nil {
				t.Errorf("%s: %s is taken", suite.Name, name)
			}
		}
		aliases := [][]byte{k.Key(), k.IV(), k.MACKey()}
		k.Wipe()
		if all := bytes.Join(aliases, nil); !bytes.Equal(all, make([]byte, len(all))) {
			t.Errorf("%s: after Wipe: %x", suite.Name, all)
		}
	}
}

// TestTrafficKeysLiteral: one that was not made here has keys of zeros, that
// can be set in place.
func TestTrafficKeysLiteral(t *testing.T) {
	k := &TrafficKeys{Suite: SuiteByID(TLS_AES_128_GCM_SHA256)}
	copy(k.Key(), count(1, 16))
	if !bytes.Equal(k.Key(), count(1, 16)) || !bytes.Equal(k.IV(), make([]byte, 12)) {
		t.Errorf("key %x, IV %x", k.Key(), k.IV())
	}
	new(TrafficKeys).Wipe()
}

// TestNext: the derivation itself is checked by TestExpandLabelAgainstStd and,
// with a real peer, by TestAgainstStd13.
func TestNext(t *testing.T) {
	for _, h := range bothHashes {
		s := TrafficSecret{NewSecret(count(0, h.Size()))}
		next := s.Next(h)
		again := next.Next(h)
		if next.Len() != h.Size() || next.Equal(&s.Secret) || again.Equal(&next.Secret) {
			t.Errorf("hash %d: %x, %x", h, next.Bytes(), again.Bytes())
		}
		if !bytes.Equal(s.Bytes(), count(0, h.Size())) {
			t.Errorf("hash %d: Next changed the secret before", h)
		}
	}
}

// TestStagesWipe: each stage is gone when the next one is there.
func TestStagesWipe(t *testing.T) {
	gone := func(name string, s *Secret) {
		t.Helper()
		if s.Len() != 0 || s.b != [MaxSecretLen]byte{} {
			t.Errorf("%s is still there: %x", name, s.b)
		}
	}
	early := NewEarly(SHA384, []byte("psk"))
	handshake := early.Handshake([]byte("shared"))
	gone("Early", &early.secret)
	main := handshake.Main()
	gone("Handshake", &handshake.secret)
	exporter := main.ExporterMainSecret(make([]byte, 48))
	main.Wipe()
	gone("Main", &main.secret)
	exporter.Wipe()
	gone("Exporter", exporter.Secret())
	exporter12 := NewMasterSecret(SHA256, []byte{1}, nil, nil).Exporter([32]byte{}, [32]byte{})
	exporter12.Wipe()
	gone("Exporter12", &exporter12.master.Secret)
}

func TestExporterRefuses(t *testing.T) {
	for _, h := range bothHashes {
		e := NewEarly(h, nil).EarlyExporterSecret(make([]byte, h.Size()))
		for _, n := range []int{-1, 255*h.Size() + 1} {
			if b, err := e.Export("label", nil, n); err == nil {
				t.Errorf("%d bytes: %d", n, len(b))
			}
		}
		if b, err := e.Export(strings.Repeat("l", 250), nil, 1); err == nil {
			t.Errorf("label of 250 bytes: %x", b)
		}
		if _, err := e.Export(strings.Repeat("l", 249), nil, 1); err != nil {
			t.Errorf("label of 249 bytes: %v", err)
		}
	}
}
