package keyschedule

import "testing"

// wantAllocs fails unless f allocates n times.
func wantAllocs(t *testing.T, what string, n float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(100, f); got != n {
		t.Errorf("%s allocates %v times, want %v", what, got, n)
	}
}

func TestTranscriptAllocations(t *testing.T) {
	for _, h := range bothHashes {
		var out byte
		wantAllocs(t, "a first binder, besides the transcript itself,", 1, func() {
			var tr Transcript
			out = tr.SumWith(h, message1)[0]
		})
		wantAllocs(t, "a TLS 1.3 transcript, besides its hash and itself,", 2, func() {
			tr := new(Transcript)
			tr.Add(message1)
			tr.Start(h)
			tr.Forget()
			tr.Add(message2)
			out = tr.Sum()[0]
			tr.Add(message3)
			out = tr.Sum()[0]
		})
		wantAllocs(t, "a TLS 1.2 transcript, besides its hash, itself and its list,", 3, func() {
			tr := new(Transcript)
			tr.Add(message1)
			tr.Start(h)
			for range maxUsual - 1 {
				tr.Add(message2)
			}
			out = tr.Sum()[0]
		})
		tr := new(Transcript)
		tr.Start(h)
		wantAllocs(t, "SumWith, besides a copy of the hash,", 1, func() { out = tr.SumWith(h, message2)[0] })
		_ = out
	}
}

// TestStagesDoNotAllocate: their caller may keep them where it likes.
func TestStagesDoNotAllocate(t *testing.T) {
	for _, h := range bothHashes {
		hash := count(7, h.Size())
		var out byte
		wantAllocs(t, "the schedule of TLS 1.3", 0, func() {
			early := NewEarly(h, hash)
			binder := early.BinderKey(ResumptionPSK)
			out += binder.VerifyData(h, nil, hash)[0]
			handshake := early.Handshake(hash)
			client := handshake.ClientHandshakeTrafficSecret(hash)
			out += client.VerifyData(h, nil, hash)[0]
			main := handshake.Main()
			application := main.ServerApplicationTrafficSecret(hash)
			out += application.Bytes()[0]
			out += main.ExporterMainSecret(hash).Secret().Bytes()[0]
		})
	}
}

func TestAllocations12(t *testing.T) {
	for _, suite := range Suites()[3:] {
		hash, long := count(7, suite.Hash.Size()), count(3, 2*suite.Hash.blockSize())
		var out [100]byte
		wantAllocs(t, suite.Name+": PRF", 0, func() { prf(suite.Hash, out[:], long, "label", hash, hash) })
		m := NewMasterSecret(suite.Hash, hash, hash, hash)
		wantAllocs(t, suite.Name+": Finished", 0, func() { out[0] = m.ClientVerifyData(hash)[0] ^ m.ServerVerifyData(hash)[0] })
		wantAllocs(t, suite.Name+": keys", 1, func() { m.Keys(suite, hash, hash) })
	}
}

// TestSuitesDoNotAllocate: it is what the lookups of a handshake range over.
func TestSuitesDoNotAllocate(t *testing.T) {
	n := 0
	wantAllocs(t, "Suites", 0, func() {
		for _, s := range Suites() {
			n += len(s.Name)
		}
	})
}

func BenchmarkPRF(b *testing.B) {
	secret, hash := count(0, 48), count(7, 32)
	var out [40]byte
	b.ReportAllocs()
	for b.Loop() {
		prf(SHA256, out[:], secret, "key expansion", hash, hash)
	}
}

func BenchmarkTranscript(b *testing.B) {
	var tr Transcript
	tr.Start(SHA256)
	tr.Add(message1)
	b.ReportAllocs()
	for b.Loop() {
		if len(tr.Sum()) != 32 {
			b.Fatal("no sum")
		}
	}
}
