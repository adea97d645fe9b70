package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

func TestRoundTrip(t *testing.T) {
	sizes := []int{0, 1, 255, MaxPlaintext - 1, MaxPlaintext, MaxPlaintext + 1, 65536, 1 << 20}
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		s, o := NewSealer(testKeys(suite, 0)), NewOpener(testKeys(suite, 0))
		for _, size := range sizes {
			in := pattern(size)
			before := s.Seq()
			sealed := mustSeal(t, s, ApplicationData, in)
			if got := s.SealedLen(ApplicationData, size); got != len(sealed) {
				t.Fatalf("SealedLen(%d) = %d, Seal appended %d", size, got, len(sealed))
			}
			if want := uint64(max(1, (size+MaxPlaintext-1)/MaxPlaintext)); s.Seq()-before != want {
				t.Fatalf("%d bytes took %d records, want %d", size, s.Seq()-before, want)
			}
			checkBytes(t, "plaintext", openAll(t, o, sealed, ApplicationData), in)
			if o.Seq() != s.Seq() {
				t.Fatalf("sequence numbers %d and %d", s.Seq(), o.Seq())
			}
		}
	})
}

func TestContentTypes(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		s, o := NewSealer(testKeys(suite, 7)), NewOpener(testKeys(suite, 7))
		for _, typ := range []ContentType{Alert, Handshake, ApplicationData} {
			in := pattern(int(typ))
			checkBytes(t, typ.String(), openAll(t, o, mustSeal(t, s, typ, in), typ), in)
			rec := mustSeal(t, s, typ, in)
			if suite.Version == keyschedule.VersionTLS13 && ContentType(rec[0]) != ApplicationData {
				t.Fatalf("outer type is %d", rec[0])
			}
			openAll(t, o, rec, typ)
		}
		_, err := s.Seal(nil, 99, pattern(1))
		wantAlert(t, err, alert.InternalError)
		for _, typ := range []ContentType{ChangeCipherSpec, Alert, Handshake} {
			_, err := s.Seal(nil, typ, nil)
			wantAlert(t, err, alert.InternalError)
		}
	})
}

// A ChangeCipherSpec is a message of its own in TLS 1.2 and decoration in 1.3.
func TestSealChangeCipherSpec(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		s := NewSealer(testKeys(suite, 3))
		s.SetPadding(func(int) int { return 100 })
		rec := mustSeal(t, s, ChangeCipherSpec, []byte{1})
		if n := s.SealedLen(ChangeCipherSpec, 1); n != len(rec) {
			t.Fatalf("SealedLen = %d, want %d", n, len(rec))
		}
		if suite.Version == keyschedule.VersionTLS13 {
			checkBytes(t, "record", rec, []byte{20, 3, 3, 0, 1, 1})
			if s.Seq() != 3 {
				t.Fatal("counted a record that is not protected")
			}
			return
		}
		openAll(t, NewOpener(testKeys(suite, 3)), rec, ChangeCipherSpec)
	})
}

func TestTamper(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		s, o := NewSealer(testKeys(suite, 0)), NewOpener(testKeys(suite, 0))
		rec := mustSeal(t, s, ApplicationData, pattern(5))
		for i := HeaderLen; i < len(rec); i++ {
			for _, bit := range []byte{0x01, 0x10, 0x80} {
				bad := bytes.Clone(rec)
				bad[i] ^= bit
				_, content, err := o.Open(nil, bad)
				wantAlert(t, err, alert.BadRecordMAC)
				if content != nil || o.Seq() != 0 {
					t.Fatal("a forged record left content or was counted")
				}
			}
		}
		if suite.Version == keyschedule.VersionTLS12 { // the type is authenticated too
			bad := bytes.Clone(rec)
			bad[0] = byte(Handshake)
			_, _, err := o.Open(nil, bad)
			wantAlert(t, err, alert.BadRecordMAC)
		}
		checkBytes(t, "after forgeries", openAll(t, o, bytes.Clone(rec), ApplicationData), pattern(5))
		_, _, err := o.Open(nil, rec) // replayed
		wantAlert(t, err, alert.BadRecordMAC)
	})
}

func TestTruncated(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		rec := mustSeal(t, NewSealer(testKeys(suite, 0)), ApplicationData, pattern(40))
		o := NewOpener(testKeys(suite, 0))
		for n := range len(rec) {
			_, _, err := o.Open(nil, bytes.Clone(rec[:n]))
			wantAlert(t, err, alert.DecodeError)
			if n < HeaderLen {
				continue
			}
			cut := bytes.Clone(rec[:n])
			binary.BigEndian.PutUint16(cut[3:], uint16(n-HeaderLen))
			_, _, err = o.Open(nil, cut)
			wantAlert(t, err, alert.BadRecordMAC)
		}
		_, _, err := o.Open(nil, append(bytes.Clone(rec), 0))
		wantAlert(t, err, alert.DecodeError)
	})
}

func TestReceivedPadding(t *testing.T) {
	const size = 3
	for pad := range MaxPlaintext - size + 2 {
		inner := append(append(pattern(size), byte(Handshake)), make([]byte, pad)...)
		rec := sealInner(testKeys(suite13, 0), inner)
		typ, content, err := NewOpener(testKeys(suite13, 0)).Open(nil, rec)
		if pad == MaxPlaintext-size+1 {
			wantAlert(t, err, alert.RecordOverflow)
			continue
		}
		if err != nil || typ != Handshake || !bytes.Equal(content, pattern(size)) {
			t.Fatalf("%d bytes of padding: %v, %x, %v", pad, typ, content, err)
		}
	}
}

func TestInnerPlaintext(t *testing.T) {
	zeros := func(n int) []byte { return make([]byte, n) }
	for _, tt := range []struct {
		name  string
		inner []byte
		want  alert.Description
	}{
		{"nothing", nil, alert.UnexpectedMessage},
		{"one zero", zeros(1), alert.UnexpectedMessage},
		{"only zeros", zeros(MaxPlaintext + 1), alert.UnexpectedMessage},
		{"too long, only zeros", zeros(MaxPlaintext + 2), alert.RecordOverflow},
		{"content one too long", append(pattern(MaxPlaintext+1), 23), alert.RecordOverflow},
		{"longest that a header allows", append(pattern(MaxPlaintext+239), 23), alert.RecordOverflow},
		{"unknown type", []byte{1, 24}, alert.UnexpectedMessage},
		{"change_cipher_spec", []byte{1, 20}, alert.UnexpectedMessage},
		{"empty handshake", []byte{22}, alert.UnexpectedMessage},
		{"empty padded handshake", []byte{22, 0, 0}, alert.UnexpectedMessage},
		{"empty alert", []byte{21}, alert.UnexpectedMessage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := NewOpener(testKeys(suite13, 0)).Open(nil, sealInner(testKeys(suite13, 0), tt.inner))
			wantAlert(t, err, tt.want)
		})
	}
	for _, inner := range [][]byte{{23}, {23, 0, 0, 0}} {
		typ, content, err := NewOpener(testKeys(suite13, 0)).Open(nil, sealInner(testKeys(suite13, 0), inner))
		if err != nil || typ != ApplicationData || len(content) != 0 {
			t.Fatalf("empty application data: %v, %x, %v", typ, content, err)
		}
	}
}

// TLS 1.2 bounds content, not what stands for it on the wire.
func TestContent12(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		if suite.Version != keyschedule.VersionTLS12 {
			return
		}
		forge := func(typ ContentType, content []byte) []byte {
			s := NewSealer(testKeys(suite, 0))
			rec := make([]byte, s.prot.recordLen(len(content)))
			if err := s.prot.seal(rec, 0, typ, content); err != nil {
				t.Fatal(err)
			}
			return rec
		}
		for _, tt := range []struct {
			typ  ContentType
			size int
			want alert.Description
		}{
			{ApplicationData, MaxPlaintext + 1, alert.RecordOverflow},
			{ApplicationData, MaxPlaintext + 1900, alert.RecordOverflow},
			{Handshake, 0, alert.UnexpectedMessage},
			{Alert, 0, alert.UnexpectedMessage},
			{ChangeCipherSpec, 0, alert.UnexpectedMessage},
		} {
			_, _, err := NewOpener(testKeys(suite, 0)).Open(nil, forge(tt.typ, pattern(tt.size)))
			wantAlert(t, err, tt.want)
		}
		typ, content, err := NewOpener(testKeys(suite, 0)).Open(nil, forge(ApplicationData, nil))
		if err != nil || typ != ApplicationData || len(content) != 0 {
			t.Fatalf("empty application data: %v, %x, %v", typ, content, err)
		}
	})
}

func TestProtectedHeader(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		rec := mustSeal(t, NewSealer(testKeys(suite, 0)), ApplicationData, pattern(5))
		o := NewOpener(testKeys(suite, 0))
		for _, tt := range []struct {
			at   int
			b    byte
			want alert.Description
		}{
			{0, 24, alert.UnexpectedMessage},
			{0, 0, alert.UnexpectedMessage},
			{1, 2, alert.ProtocolVersion},
			{2, 1, alert.ProtocolVersion},
			{3, 0x50, alert.DecodeError},
		} {
			bad := bytes.Clone(rec)
			bad[tt.at] = tt.b
			_, _, err := o.Open(nil, bad)
			wantAlert(t, err, tt.want)
		}
		if suite.Version == keyschedule.VersionTLS13 {
			for _, typ := range []ContentType{Handshake, Alert, ChangeCipherSpec} {
				bad := bytes.Clone(rec)
				bad[0] = byte(typ)
				_, _, err := o.Open(nil, bad)
				wantAlert(t, err, alert.UnexpectedMessage)
			}
		}
		long := make([]byte, HeaderLen+o.prot.maxLength()+1)
		putHeader(long, ApplicationData, 0x0303)
		_, _, err := o.Open(nil, long)
		wantAlert(t, err, alert.RecordOverflow)
		_, err = o.Need(long[:HeaderLen])
		wantAlert(t, err, alert.RecordOverflow)
		long = long[:len(long)-1]
		putHeader(long, ApplicationData, 0x0303)
		_, _, err = o.Open(nil, long)
		wantAlert(t, err, alert.BadRecordMAC)
	})
}

func TestPlaintext(t *testing.T) {
	var s Sealer
	var o Opener
	s.SetPlaintextVersion(0x0301)
	s.SetLimit(1)
	s.SetPadding(func(int) int { return 10 })
	rec := mustSeal(t, &s, Handshake, []byte{1, 2, 3})
	checkBytes(t, "record", rec, []byte{22, 3, 1, 0, 3, 1, 2, 3})
	checkBytes(t, "content", openAll(t, &o, rec, Handshake), []byte{1, 2, 3})
	s.SetPlaintextVersion(0x0303)
	big := pattern(MaxPlaintext + 1)
	rec = mustSeal(t, &s, Handshake, big)
	if s.SealedLen(Handshake, len(big)) != len(rec) || s.PrefixLen() != HeaderLen {
		t.Fatal("lengths are wrong")
	}
	checkBytes(t, "content", openAll(t, &o, rec, Handshake), big)
	if s.Seq() != 0 || o.Seq() != 0 || s.Remaining() != math.MaxUint64 || o.Remaining() != math.MaxUint64 {
		t.Fatal("plaintext records count")
	}

	_, err := s.Seal(nil, ApplicationData, []byte("secret"))
	wantAlert(t, err, alert.InternalError)
	for _, tt := range []struct {
		rec  []byte
		want alert.Description
	}{
		{[]byte{23, 3, 3, 0, 1, 1}, alert.UnexpectedMessage},
		{[]byte{22, 3, 3, 0, 0}, alert.UnexpectedMessage},
		{[]byte{21, 3, 3, 0, 0}, alert.UnexpectedMessage},
		{[]byte{20, 3, 3, 0, 0}, alert.UnexpectedMessage},
		{[]byte{24, 3, 3, 0, 1, 1}, alert.UnexpectedMessage},
		{[]byte{22, 3, 3, 0, 1}, alert.DecodeError},
		{[]byte{22, 2, 0, 0, 1, 1}, alert.ProtocolVersion},
	} {
		_, _, err := o.Open(nil, tt.rec)
		wantAlert(t, err, tt.want)
	}
	openAll(t, &o, []byte{20, 3, 3, 0, 1, 1}, ChangeCipherSpec)
	if k := s.Release(); k != nil {
		t.Fatal("plaintext has no keys")
	}
	if k := o.Release(); k != nil {
		t.Fatal("plaintext has no keys")
	}
	_, err = s.Seal(nil, Handshake, []byte{1})
	if !errors.Is(err, ErrReleased) {
		t.Fatal(err)
	}
}

func TestNeed(t *testing.T) {
	header := func(typ, major, minor byte, n int) []byte {
		return []byte{typ, major, minor, byte(n >> 8), byte(n)}
	}
	protected := func(id uint16) func() *Opener {
		return func() *Opener { return NewOpener(testKeys(keyschedule.SuiteByID(id), 0)) }
	}
	first := func() *Opener { return new(Opener) }
	later := func() *Opener { return &Opener{begun: true} }
	tls13, tls12 := protected(0x1301), protected(0xc02f)
	const ok = alert.CloseNotify // no error
	for _, tt := range []struct {
		name  string
		o     func() *Opener
		buf   []byte
		n     int
		want  alert.Description
		typed bool // a HeaderError
	}{
		{"nothing", first, nil, HeaderLen, ok, false},
		{"half a header", first, []byte("GET "), HeaderLen, ok, false},
		{"ClientHello", first, header(22, 3, 1, 200), 205, ok, false},
		{"alert", first, header(21, 3, 3, 2), 7, ok, false},
		{"HTTP request", first, []byte("GET / HTTP/1.1\r\n"), 0, alert.UnexpectedMessage, true},
		{"HTTP response", first, []byte("HTTP/1.1 400"), 0, alert.UnexpectedMessage, true},
		{"SSLv2", first, []byte{0x80, 0x2e, 1, 3, 1}, 0, alert.ProtocolVersion, true},
		{"first is not TLS", first, header(22, 5, 0, 200), 0, alert.ProtocolVersion, true},
		{"first is data", first, header(23, 3, 3, 200), 0, alert.UnexpectedMessage, true},
		{"first is CCS", first, header(20, 3, 3, 1), 0, alert.UnexpectedMessage, true},
		{"first too long", first, header(22, 3, 3, MaxPlaintext+1), 0, alert.RecordOverflow, false},
		{"longest", later, header(22, 3, 3, MaxPlaintext), MaxPlaintext + 5, ok, false},
		{"too long", later, header(22, 3, 3, MaxPlaintext+1), 0, alert.RecordOverflow, false},
		{"CCS", later, header(20, 3, 3, 1), 6, ok, false},
		{"early data to skip", later, header(23, 3, 3, MaxCiphertext13), MaxCiphertext13 + 5, ok, false},
		{"early data too long", later, header(23, 3, 3, MaxCiphertext13+1), 0, alert.RecordOverflow, false},
		{"unknown type", later, header(24, 3, 3, 1), 0, alert.UnexpectedMessage, false},
		{"heartbeat", tls13, header(24, 3, 3, 1), 0, alert.UnexpectedMessage, false},
		{"lost framing", later, header(22, 2, 3, 1), 0, alert.ProtocolVersion, true},
		{"1.3 longest", tls13, header(23, 3, 3, MaxCiphertext13), MaxCiphertext13 + 5, ok, false},
		{"1.3 too long", tls13, header(23, 3, 3, MaxCiphertext13+1), 0, alert.RecordOverflow, false},
		{"1.2 longest", tls12, header(23, 3, 3, MaxCiphertext12), MaxCiphertext12 + 5, ok, false},
		{"1.2 too long", tls12, header(22, 3, 3, MaxCiphertext12+1), 0, alert.RecordOverflow, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := tt.o().Need(tt.buf)
			if n != tt.n {
				t.Fatalf("n = %d, want %d (%v)", n, tt.n, err)
			}
			if tt.want == ok {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantAlert(t, err, tt.want)
			var h *HeaderError
			if errors.As(err, &h) != tt.typed {
				t.Fatalf("HeaderError is %v, want %v: %v", !tt.typed, tt.typed, err)
			}
			if tt.typed && (!bytes.Equal(h.Header[:], tt.buf[:HeaderLen]) || h.Error() == "") {
				t.Fatalf("HeaderError holds %q", h.Header)
			}
		})
	}
}

func TestParseHeader(t *testing.T) {
	h, err := ParseHeader([]byte{23, 3, 3, 0x12, 0x34, 0xff})
	if err != nil || h != (Header{ApplicationData, 0x0303, 0x1234}) {
		t.Fatalf("%+v, %v", h, err)
	}
	_, err = ParseHeader([]byte{23, 3, 3, 0})
	wantAlert(t, err, alert.DecodeError)
}

func TestContentTypeString(t *testing.T) {
	want := map[ContentType]string{
		20: "change_cipher_spec", 21: "alert", 22: "handshake", 23: "application_data", 24: "content_type(24)",
	}
	for typ, name := range want {
		if got := fmt.Sprint(typ); got != name {
			t.Errorf("%d is %q, want %q", uint8(typ), got, name)
		}
	}
}
