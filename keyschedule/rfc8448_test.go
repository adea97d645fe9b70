package keyschedule

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/go-handoff/tls/conformance/rfc8448"
)

// TestRFC8448 walks through every step of every trace and makes each value that
// the RFC shows, through the stages as a handshake uses them.
func TestRFC8448(t *testing.T) {
	for _, trace := range rfc8448.Traces() {
		t.Run(trace.Name, func(t *testing.T) {
			w := &walker{T: t, trace: trace.Name}
			for _, w.step = range trace.Steps {
				if len(w.step.Fields) > 0 {
					w.take()
				}
			}
			if w.main == nil || w.derived < 20 {
				t.Errorf("walked past too much: %d values were derived", w.derived)
			}
		})
	}
}

// walker is where a walk through a trace is.
type walker struct {
	*testing.T
	trace string
	step  rfc8448.Step

	transcript Transcript
	early      *Early
	handshake  *Handshake
	main       *Main
	resumption Secret
	derived    int
}

func (w *walker) take() {
	what, object, _ := strings.Cut(w.step.What, ` "`)
	object = strings.TrimSuffix(object, `"`)
	switch {
	case strings.HasPrefix(what, "construct a"):
		w.message(strings.Fields(what)[2])
	case strings.HasPrefix(what, "send"):
		w.sent()
	case what == "extract secret":
		w.extract(object)
	case what == "derive secret":
		w.secret(object)
	case what == "derive secret for handshake" || what == "derive secret for master":
		prk := NewSecret(w.step.Bytes("PRK"))
		w.check("expanded", deriveSecret(SHA256, &prk, "derived", w.step.Bytes("hash")))
	case strings.HasPrefix(what, "derive read traffic keys") || strings.HasPrefix(what, "derive write traffic keys"):
		w.keys()
	case what == "calculate finished":
		w.finished(w.transcript.Sum())
	case what == "calculate PSK binder":
		w.binder()
	case what == "generate resumption secret":
		w.check("expanded", ResumptionPSKFrom(SHA256, &w.resumption, w.step.Bytes("hash")))
	case strings.HasPrefix(what, "create an ephemeral"):
	default:
		w.Errorf("nobody checks %q", w.step.What)
	}
}

// check compares a secret that was made with a field of the step.
func (w *walker) check(field string, got Secret) {
	w.Helper()
	w.checkBytes(field, got.Bytes())
}

func (w *walker) checkBytes(field string, got []byte) {
	w.Helper()
	w.derived++
	if want := w.step.Bytes(field); !bytes.Equal(got, want) {
		w.Errorf("%s: %s: %s is %x, want %x", w.step.Who, w.step.What, field, got, want)
	}
}

// retryRandom marks a ServerHello that is a HelloRetryRequest (RFC 9846,
// section 4.2.3).
var retryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// message adds messages to the transcript when they are made, but for a
// ClientHello with a binder, which is not whole yet, and for tickets.
func (w *walker) message(name string) {
	raw := w.step.Bytes(name)
	switch {
	case name == "NewSessionTicket", name == "ClientHello" && w.trace == rfc8448.Resumed0RTT:
		return
	case name == "ServerHello":
		w.transcript.Start(SHA256)
		if bytes.Equal(raw[6:38], retryRandom[:]) {
			w.transcript.Retry()
		}
	}
	w.transcript.Add(raw)
}

// sent adds the ClientHello that has its binder now.
func (w *walker) sent() {
	payload := w.step.Bytes("payload")
	if w.trace == rfc8448.Resumed0RTT && payload[0] == 1 && w.step.What == "send handshake record" {
		w.transcript.Start(SHA256)
		w.transcript.Add(payload)
	}
}

func (w *walker) extract(stage string) {
	ikm := w.step.Bytes("IKM")
	switch stage {
	case "early":
		if w.trace == rfc8448.Resumed0RTT {
			w.early = NewEarly(SHA256, ikm)
		} else {
			w.early = NewEarly(SHA256, nil)
		}
		w.check("secret", w.early.secret)
	case "handshake":
		w.handshake = w.early.Handshake(ikm)
		w.check("secret", w.handshake.secret)
	case "master":
		w.main = w.handshake.Main()
		w.check("secret", w.main.secret)
	default:
		w.Errorf("unknown stage %q", stage)
	}
}

func (w *walker) secret(label string) {
	hash := w.transcript.Sum()
	w.checkBytes("hash", hash)
	switch label {
	case "tls13 c e traffic":
		w.check("expanded", w.early.ClientEarlyTrafficSecret(hash).Secret)
	case "tls13 e exp master":
		w.check("expanded", *w.early.EarlyExporterSecret(hash).Secret())
	case "tls13 c hs traffic":
		w.check("expanded", w.handshake.ClientHandshakeTrafficSecret(hash).Secret)
	case "tls13 s hs traffic":
		w.check("expanded", w.handshake.ServerHandshakeTrafficSecret(hash).Secret)
	case "tls13 c ap traffic":
		w.check("expanded", w.main.ClientApplicationTrafficSecret(hash).Secret)
	case "tls13 s ap traffic":
		w.check("expanded", w.main.ServerApplicationTrafficSecret(hash).Secret)
	case "tls13 exp master":
		w.check("expanded", *w.main.ExporterMainSecret(hash).Secret())
	case "tls13 res master":
		w.resumption = w.main.ResumptionMainSecret(hash)
		w.check("expanded", w.resumption)
	default:
		w.Errorf("unknown secret %q", label)
	}
}

func (w *walker) keys() {
	secret := TrafficSecret{NewSecret(w.step.Bytes("PRK"))}
	k := secret.Keys(SuiteByID(TLS_AES_128_GCM_SHA256))
	w.checkBytes("key expanded", k.Key())
	w.checkBytes("iv expanded", k.IV())
	if k.Seq != 0 || len(k.MACKey()) != 0 {
		w.Errorf("new keys begin at record %d with a MAC key of %d bytes", k.Seq, len(k.MACKey()))
	}
}

func (w *walker) finished(hash []byte) {
	base := NewSecret(w.step.Bytes("PRK"))
	w.checkBytes("finished", base.VerifyData(SHA256, nil, hash))
}

func (w *walker) binder() {
	hash := w.transcript.SumWith(SHA256, w.step.Bytes("ClientHello prefix"))
	w.checkBytes("binder hash", hash)
	w.check("PRK", w.early.BinderKey(ResumptionPSK))
	w.finished(hash)
}
