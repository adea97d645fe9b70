package handshake

import "testing"

// A peer that sends no application data may answer as many requests as we make:
// its answers do not count as messages that bring nothing.
func TestKeyUpdateAnswersDoNotCount(t *testing.T) {
	p := mustRun(t, clientTestConfig(), serverTestConfig(testCerts()["p256"]))
	for range 2 * maxPostHandshake {
		p.server.Progress() // the server gets data, the client does not
		if err := p.client.RequestKeyUpdate(); err != nil {
			t.Fatal(err)
		}
		if err := p.pump(false); err != nil {
			t.Fatal(err)
		}
		if !p.server.owesUpdate {
			t.Fatal("the server was not asked")
		}
		p.server.owesUpdate = false
		if err := p.server.UpdateWriteKeys(); err != nil {
			t.Fatal(err)
		}
		if err := p.pump(false); err != nil {
			t.Fatal(err)
		}
	}
	p.check(t)
}
