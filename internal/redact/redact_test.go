package redact

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Types that hold a secret in the ways that types do.
type (
	embedding struct {
		Value
		Key []byte
		key string
	}
	nested struct {
		Name   string
		Inner  embedding
		Inners []*embedding
	}
	// hiding embeds Value too, as it must: of unexported fields fmt asks nothing.
	hiding struct {
		Value
		inner   embedding
		pointer *embedding
	}
)

const secret = "correct horse"

func samples() map[string]any {
	e := embedding{Key: []byte(secret), key: secret}
	n := nested{Name: "name", Inner: e, Inners: []*embedding{&e}}
	h := hiding{inner: e, pointer: &e}
	return map[string]any{
		"value": e, "pointer": &e, "slice": []embedding{e}, "map": map[string]*embedding{"k": &e},
		"nested": n, "pointer to nested": &n, "hiding": h, "pointer to hiding": &h, "interface": []any{e, &e},
	}
}

// leaks reports whether out has the secret in it, in one of fmt's ways to print
// bytes.
func leaks(out string) bool {
	b := []byte(secret)
	for _, form := range []string{secret, fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), fmt.Sprint(b[:4])[1:12], fmt.Sprintf("%#v", b)[8:20]} {
		if strings.Contains(out, form) {
			return true
		}
	}
	return false
}

// TestFmt does not try %p, for which fmt asks no method: go vet refuses it for
// what is no pointer, and of a pointer it prints the address.
func TestFmt(t *testing.T) {
	for name, v := range samples() {
		for _, verb := range "vsqxXdbcoOtTeEfFgGU" {
			for _, flags := range []string{"", "+", "#", " ", "0", "-20", ".3", "20.2"} {
				format := "%" + flags + string(verb)
				out := fmt.Sprintf(format, v)
				if leaks(out) {
					t.Errorf("%s of %s: %s", format, name, out)
				}
				if name == "value" && verb != 'T' && out != text {
					t.Errorf("%s of %s: %q, want %q", format, name, out, text)
				}
			}
		}
		if out := fmt.Sprint(v) + fmt.Sprintln(v); leaks(out) {
			t.Errorf("Sprint of %s: %s", name, out)
		}
	}
}

func TestEncoders(t *testing.T) {
	for name, v := range samples() {
		out, err := json.Marshal(v)
		if err != nil || leaks(string(out)) || !strings.Contains(string(out), `"`+text+`"`) {
			t.Errorf("json of %s: %s, %v", name, out, err)
		}
		var b strings.Builder
		slog.New(slog.NewTextHandler(&b, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "v", v)
		if leaks(b.String()) {
			t.Errorf("slog of %s: %s", name, b.String())
		}
	}
	out, err := xml.Marshal(samples()["value"])
	if err != nil || leaks(string(out)) || !strings.Contains(string(out), text) {
		t.Errorf("xml: %s, %v", out, err)
	}
}

// TestLeaksIsAbleToFail checks the check: the same types without Value leak.
func TestLeaksIsAbleToFail(t *testing.T) {
	type bare struct {
		Key []byte
		key string
	}
	for _, v := range []any{bare{Key: []byte(secret)}, bare{key: secret}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X"} {
			if out := fmt.Sprintf(format, v); !leaks(out) {
				t.Errorf("%s: %s passes", format, out)
			}
		}
	}
}

func TestDirect(t *testing.T) {
	var v Value
	b, err := v.MarshalText()
	if v.String() != text || v.GoString() != text || v.LogValue().String() != text || string(b) != text || err != nil {
		t.Errorf("%q, %q, %v, %q, %v", v.String(), v.GoString(), v.LogValue(), b, err)
	}
}
