package record

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-handoff/tls/keyschedule"
)

// leaks returns what of k's key, IV and MAC key can be found in printed, as
// text, hex of either case, or decimal numbers.
func leaks(k *keyschedule.TrafficKeys, printed string) string {
	for _, secret := range [][]byte{k.Key(), k.IV(), k.MACKey()} {
		for i := 0; i+3 <= len(secret); i++ {
			part := secret[i : i+3]
			decimal := strings.Trim(fmt.Sprintf("%d", part), "[]")
			for _, form := range []string{
				string(part), hex.EncodeToString(part), fmt.Sprintf("%X", part), fmt.Sprintf("% x", part), decimal,
				strings.ReplaceAll(decimal, " ", ", "), strings.ReplaceAll(decimal, " ", ","), fmt.Sprintf("%#x", part)[:6],
				strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte"), "{}"),
			} {
				if strings.Contains(printed, form) {
					return form
				}
			}
		}
	}
	return ""
}

func TestSecretsDoNotPrint(t *testing.T) {
	type holder struct {
		S *Sealer
		O *Opener
		s *Sealer
		o *Opener
		I any
		i any
	}
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		// Bytes that turn up in no address, name or number by chance.
		key, iv, mac := testKeys(suite, 0).Key(), testKeys(suite, 0).IV(), testKeys(suite, 0).MACKey()
		for i, part := range [][]byte{key, iv, mac} {
			for j := range part {
				part[j] = byte(171 + 37*i + 83*j)
			}
		}
		k := keyschedule.NewTrafficKeys(suite, key, iv, mac, 0)
		s, o := NewSealer(k), NewOpener(keyschedule.NewTrafficKeys(suite, key, iv, mac, 0))
		openAll(t, o, mustSeal(t, s, ApplicationData, pattern(10)), ApplicationData) // scratch is in use
		h := holder{s, o, s, o, s, o}
		values := []any{s, o, s.prot, o.prot, h, &h, []*Sealer{s}, map[string]any{"o": o}, []any{s, o, h}}
		for _, v := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "% x", "%q", "%s", "%d", "%o"} {
				checkPrinted(t, k, verb, fmt.Sprintf(verb, v))
			}
			if b, err := json.Marshal(v); err == nil {
				checkPrinted(t, k, "json", string(b))
			}
			var buf bytes.Buffer
			slog.New(slog.NewTextHandler(&buf, nil)).Info("text", "value", v)
			slog.New(slog.NewJSONHandler(&buf, nil)).Info("json", "value", v)
			checkPrinted(t, k, "slog", buf.String())
		}
		if got := fmt.Sprintf("%v %v", s, o); got != "redacted redacted" {
			t.Fatalf("printed %q", got)
		}
	})
}

func checkPrinted(t *testing.T, k *keyschedule.TrafficKeys, how, printed string) {
	t.Helper()
	if part := leaks(k, printed); part != "" {
		t.Fatalf("%s shows %q of a key: %s", how, part, printed)
	}
}

// The search must find what it looks for.
func TestLeaksAreFound(t *testing.T) {
	k := testKeys(suiteCBC, 0)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "% x", "%s", "%d"} {
		if leaks(k, fmt.Sprintf(verb, k.MACKey())) == "" {
			t.Errorf("%s is not found", verb)
		}
	}
}
