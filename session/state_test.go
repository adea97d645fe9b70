package session

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

var epoch = time.UnixMilli(1_700_000_000_123).UTC()

// full13 has something in every field.
func full13() *State {
	return &State{
		Version: keyschedule.VersionTLS13, CipherSuite: keyschedule.TLS_AES_256_GCM_SHA384,
		CreatedAt: epoch, Secret: keyschedule.NewSecret(bytes.Repeat([]byte{0xA7}, 48)), ExtendedMasterSecret: true,
		ServerName: "example.com", ALPN: "h2", LeafHash: bytes.Repeat([]byte{3}, 32), SignatureScheme: 0x0804, Group: 0x11ec,
		PeerChain: [][]byte{{1, 2, 3}, {4, 5}}, PeerRawKey: []byte{1, 2}, PSKIdentity: []byte("identity"), PSKHash: bytes.Repeat([]byte{4}, 32), OCSPStaple: []byte("ocsp"), SCTs: [][]byte{{6}, {7, 8}},
		Ticket: []byte("ticket"), SessionID: []byte("session id"), Lifetime: 3 * time.Hour, AgeAdd: 0xdeadbeef,
		MaxEarlyData: 16384, EarlyData: true, Extra: [][]byte{nil, {9}, []byte("extra")},
	}
}

// small has only what it must have.
func small(version, suite uint16, secretLen int) *State {
	return &State{
		Version: version, CipherSuite: suite, CreatedAt: epoch, Lifetime: time.Hour,
		Secret: keyschedule.NewSecret(bytes.Repeat([]byte{0xA7}, secretLen)),
	}
}

func small13() *State {
	return small(keyschedule.VersionTLS13, keyschedule.TLS_AES_128_GCM_SHA256, 32)
}

func small12() *State {
	return small(keyschedule.VersionTLS12, keyschedule.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, 48)
}

func mustBytes(t testing.TB, s *State) []byte {
	t.Helper()
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	zeroTime := small13()
	zeroTime.CreatedAt = time.Time{}
	long := small13()
	long.PeerChain = [][]byte{bytes.Repeat([]byte{1}, 1<<20)}
	for name, s := range map[string]*State{"full": full13(), "1.3": small13(), "1.2": small12(), "zero time": zeroTime, "long": long} {
		got, err := ParseState(mustBytes(t, s))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(got, s) {
			t.Errorf("%s: got %+v, want %+v", name, got, s)
		}
	}
}

// TestEveryFieldIsKept fails when a field is added to State but not to its
// encoding, or to full13.
func TestEveryFieldIsKept(t *testing.T) {
	want := full13()
	got, err := ParseState(mustBytes(t, want))
	if err != nil {
		t.Fatal(err)
	}
	v, clone := reflect.ValueOf(*got), reflect.ValueOf(*want.Clone())
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; name == "VerifiedChains" || name == "VerifiedRoots" {
			continue // is for this process only
		} else if v.Field(i).IsZero() || clone.Field(i).IsZero() {
			t.Errorf("%s is lost", name)
		}
	}
}

// TestStateFormat pins the format: tickets outlive the program that made them.
func TestStateFormat(t *testing.T) {
	const want = "0003" + "0304" + "1301" + "0000018bcfe5687b" + "00" +
		"20" + "a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7" +
		"0000" + "00" + "00" + "0000" + "0000" + "000000" + "0000" + "0000" + "00" + "000000" + "000000" + "0000" + "00" +
		"00000e10" + "00000000" + "00000000" + "000000"
	if got := fmt.Sprintf("%x", mustBytes(t, small13())); got != want {
		t.Errorf("format changed without a new version:\ngot  %s\nwant %s", got, want)
	}
}

func TestParseTruncatedAndExtended(t *testing.T) {
	b := mustBytes(t, full13())
	for n := range b {
		if s, err := ParseState(b[:n]); err == nil || s != nil || alert.Of(err) != alert.DecodeError {
			t.Fatalf("first %d of %d bytes: %v, %v", n, len(b), s, err)
		}
	}
	if _, err := ParseState(append(bytes.Clone(b), 0)); alert.Of(err) != alert.DecodeError {
		t.Errorf("one byte more: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	const versionAt, suiteAt, flagsAt, secretAt = 2, 4, 14, 15
	good := mustBytes(t, small13())
	list := func(n int) []byte {
		// The extra list is the last thing, and empty: put n empty elements in.
		b := binary.BigEndian.AppendUint32(bytes.Clone(good[:len(good)-3]), uint32(3*n))
		return append(append(b[:len(b)-4], b[len(b)-3:]...), make([]byte, 3*n)...)
	}
	with := func(at int, v ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], v)
		return b
	}
	if _, err := ParseState(list(maxList)); err != nil {
		t.Fatalf("the longest list: %v", err)
	}
	for name, b := range map[string][]byte{
		"other format":         with(0, 0, 2),
		"unknown version":      with(versionAt, 3, 2),
		"suite of other era":   with(suiteAt, 0xc0, 0x2f),
		"unknown suite":        with(suiteAt, 0x13, 0x09),
		"unknown flag":         with(flagsAt, 0x04),
		"short secret":         append(append(bytes.Clone(good[:secretAt]), 31), good[secretAt+2:]...),
		"secret of other hash": append(append(bytes.Clone(good[:secretAt]), append([]byte{48}, make([]byte, 16)...)...), good[secretAt+1:]...),
		"too many elements":    list(maxList + 1),
		"cut element":          append(bytes.Clone(good[:len(good)-3]), 0, 0, 1, 7),
	} {
		if s, err := ParseState(b); err == nil || s != nil || alert.Of(err) != alert.DecodeError {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

func TestBytesRefuses(t *testing.T) {
	for name, change := range map[string]func(*State){
		"no suite":          func(s *State) { s.CipherSuite = 0 },
		"wrong version":     func(s *State) { s.Version = keyschedule.VersionTLS12 },
		"no secret":         func(s *State) { s.Wipe() },
		"server name":       func(s *State) { s.ServerName = strings.Repeat("a", 1<<16) },
		"ALPN":              func(s *State) { s.ALPN = strings.Repeat("a", 256) },
		"certificate":       func(s *State) { s.LeafHash = make([]byte, 31) },
		"staple":            func(s *State) { s.OCSPStaple = make([]byte, 1<<24) },
		"ticket":            func(s *State) { s.Ticket = make([]byte, 1<<16) },
		"session ID":        func(s *State) { s.SessionID = make([]byte, 33) },
		"negative lifetime": func(s *State) { s.Lifetime = -1 },
		"long lifetime":     func(s *State) { s.Lifetime = (1 << 32) * time.Second },
		"identity alone":    func(s *State) { s.PSKHash = nil },
		"key's hash alone":  func(s *State) { s.PSKIdentity = nil },
		"short key's hash":  func(s *State) { s.PSKHash = s.PSKHash[1:] },
		"chain in bytes":    func(s *State) { s.PeerChain = [][]byte{make([]byte, 1<<24-3)} },
		"SCTs in number":    func(s *State) { s.SCTs = make([][]byte, maxList+1) },
		"extra in number":   func(s *State) { s.Extra = make([][]byte, maxList+1) },
	} {
		s := full13()
		change(s)
		if b, err := s.Bytes(); err == nil || b != nil || alert.Of(err) != alert.InternalError {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

// TestBytesDoesNotGrow: growing would leave copies of the secret behind.
func TestBytesDoesNotGrow(t *testing.T) {
	for _, s := range []*State{small12(), small13(), full13()} {
		if b := mustBytes(t, s); len(b) > s.sizeHint() {
			t.Errorf("%d bytes, hint was %d", len(b), s.sizeHint())
		}
	}
}

func TestParsedSharesNoMemory(t *testing.T) {
	b := mustBytes(t, full13())
	s, err := ParseState(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !reflect.DeepEqual(s, full13()) {
		t.Errorf("state changed with the buffer that it was parsed from: %+v", s)
	}
}

func FuzzParseState(f *testing.F) {
	for _, s := range []*State{full13(), small13(), small12()} {
		f.Add(mustBytes(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseState(b)
		if err != nil {
			if s != nil || alert.Of(err) != alert.DecodeError {
				t.Fatalf("%v, %v", s, err)
			}
			return
		}
		if again := mustBytes(t, s); !bytes.Equal(again, b) {
			t.Fatalf("not canonical:\n%x\n%x", b, again)
		}
	})
}

func TestExpired(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name     string
		version  uint16
		lifetime time.Duration
		age      time.Duration
		want     bool
	}{
		{"new", keyschedule.VersionTLS13, time.Hour, 0, false},
		{"at the end", keyschedule.VersionTLS13, time.Hour, time.Hour, false},
		{"past the end", keyschedule.VersionTLS13, time.Hour, time.Hour + time.Millisecond, true},
		{"seven days of ten", keyschedule.VersionTLS13, 10 * day, 7 * day, false},
		{"more than seven of ten", keyschedule.VersionTLS13, 10 * day, 7*day + time.Millisecond, true},
		{"1.3 without a lifetime", keyschedule.VersionTLS13, 0, 0, true},
		{"1.2 without a lifetime", keyschedule.VersionTLS12, 0, day, false},
		{"1.2 without a lifetime, old", keyschedule.VersionTLS12, 0, day + time.Millisecond, true},
		{"1.2 of seven days", keyschedule.VersionTLS12, 7 * day, 7 * day, false},
		{"negative lifetime", keyschedule.VersionTLS12, -time.Hour, 0, true},
		{"slightly from the future", keyschedule.VersionTLS13, time.Hour, -maxSkew, false},
		{"from the future", keyschedule.VersionTLS13, time.Hour, -maxSkew - time.Millisecond, true},
	} {
		s := &State{Version: tt.version, CreatedAt: epoch, Lifetime: tt.lifetime}
		if got := s.Expired(epoch.Add(tt.age)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestClone(t *testing.T) {
	s := full13()
	c := s.Clone()
	if !reflect.DeepEqual(c, s) {
		t.Fatalf("got %+v, want %+v", c, s)
	}
	s.Wipe()
	for _, b := range append([][]byte{s.OCSPStaple, s.Ticket, s.SessionID}, append(append(s.PeerChain, s.SCTs...), s.Extra...)...) {
		clear(b)
	}
	s.PeerChain[0], s.SCTs[0], s.Extra[0] = nil, nil, nil
	if !reflect.DeepEqual(c, full13()) {
		t.Errorf("the copy changed with the original: %+v", c)
	}
	if got := small13().Clone(); !reflect.DeepEqual(got, small13()) {
		t.Errorf("copy of a small state: %+v", got)
	}
}

func TestWipe(t *testing.T) {
	s := full13()
	alias := s.Secret.Bytes()
	s.Wipe()
	if s.Secret.Len() != 0 || !bytes.Equal(alias, make([]byte, 48)) {
		t.Errorf("secret is still there: %x", alias)
	}
}

func TestPeerCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "leaf"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := small13()
	if chain, err := s.PeerCertificates(); chain != nil || err != nil {
		t.Errorf("no certificate: %v, %v", chain, err)
	}
	s.PeerChain = [][]byte{der, der}
	if chain, err := s.PeerCertificates(); err != nil || len(chain) != 2 || chain[1].Subject.CommonName != "leaf" {
		t.Errorf("two certificates: %v, %v", chain, err)
	}
	s.PeerChain[1] = der[1:]
	if chain, err := s.PeerCertificates(); chain != nil || alert.Of(err) != alert.BadCertificate {
		t.Errorf("damaged certificate: %v, %v", chain, err)
	}
}

// printed renders v in every way that a program may log it.
func printed(v any) string {
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	if j, err := json.Marshal(v); err == nil {
		b.Write(j)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("text", "v", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "v", v)
	return b.String()
}

// secretForms are bytes 0xA7 as the verbs above show them.
var secretForms = []string{"a7a7", "A7A7", "167 167", "167,167", "247 247", "10100111 10100111", "0xa7, 0xa7", "p6en", `\xa7\xa7`, "§§", "U+00A7"}

func TestStateDoesNotPrintItsSecret(t *testing.T) {
	s := full13()
	if leak := printed(s.Secret.Bytes()); countForms(leak) < 8 {
		t.Fatalf("the test would not notice a leak: %s", leak)
	}
	type nested struct {
		Exported State
		Pointer  *State
	}
	for name, v := range map[string]any{
		"value": *s, "pointer": s, "slice": []*State{s}, "map": map[string]State{"a": *s}, "any": []any{*s},
		"nested": nested{*s, s}, "pointer to nested": &nested{*s, s},
	} {
		out := printed(v)
		if n := countForms(out); n > 0 {
			t.Errorf("%s shows the secret: %s", name, out)
		}
	}
	const line = `session(0x0304, suite 0x1302, server name "example.com", ALPN "h2", created 2023-11-14T22:13:20Z, lifetime 3h0m0s)`
	if out := fmt.Sprintf("%s %d", s, []State{*s}); out != line+" ["+line+"]" {
		t.Errorf("got %s", out)
	}
}

// TestStateInUnexportedFields: fmt asks no methods there, but does not follow
// the pointer either if the verb fits one.
func TestStateInUnexportedFields(t *testing.T) {
	holder := struct{ s *State }{full13()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d"} {
		if out := fmt.Sprintf(verb, holder); countForms(out) > 0 {
			t.Errorf("%s shows the secret: %s", verb, out)
		}
	}
}

func countForms(s string) (n int) {
	for _, form := range secretForms {
		if strings.Contains(s, form) {
			n++
		}
	}
	return n
}

// TestShare: wiping one leaves the other alone, which is all that they do not share.
func TestShare(t *testing.T) {
	s := full13()
	c := s.Share()
	if !reflect.DeepEqual(c, s) {
		t.Fatalf("got %+v, want %+v", c, s)
	}
	s.Wipe()
	if !reflect.DeepEqual(c, full13()) {
		t.Errorf("the copy changed with the original: %+v", c)
	}
}

// TestParseOwnMovesTheSecret: whether it parses or not, what was parsed has no
// secret any more.
func TestParseOwnMovesTheSecret(t *testing.T) {
	for _, cut := range []int{0, 1} {
		s := full13()
		b := mustBytes(t, s)
		if !bytes.Contains(b, s.Secret.Bytes()) {
			t.Fatal("the encoding has no secret")
		}
		got, err := parseOwn(b[:len(b)-cut])
		if (err == nil) != (cut == 0) || err == nil && !reflect.DeepEqual(got, s) {
			t.Errorf("got %+v, %v", got, err)
		}
		if bytes.Contains(b, s.Secret.Bytes()[:8]) {
			t.Errorf("cut by %d: the secret is still there", cut)
		}
	}
}
