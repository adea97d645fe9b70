package kernel

import "github.com/go-handoff/tls/keyschedule"

// Report is what a kernel can do with TLS.
type Report struct {
	System    string // "linux 6.12.101 amd64" or the like, for people
	Available bool   // it can do something at all
	Reason    string // why not, in words, with advice

	// Entries has a row for each protocol version and cipher.
	Entries []Capability

	Rekey         Support // keys can be replaced (TLS 1.3)
	NoPad         Support // option TLS_RX_EXPECT_NO_PAD does no harm
	SpliceRX      Support // splicing from a socket loses nothing
	MaxPayload    Support // option TLS_TX_MAX_PAYLOAD_LEN is there
	DeviceOffload Support // a network device of this machine protects records
}

// Support says whether something works, and if not, why.
type Support struct {
	OK     bool
	Reason string
}

// Capability is what a kernel can do with one cipher in one protocol version.
type Capability struct {
	Version uint16
	Cipher  keyschedule.Cipher
	TX, RX  Support
}

// TX says whether the kernel can protect what is sent under suite.
func (r *Report) TX(suite *keyschedule.Suite) Support { return r.entry(suite).TX }

// RX says whether the kernel can unprotect what is received under suite.
func (r *Report) RX(suite *keyschedule.Suite) Support { return r.entry(suite).RX }

// entry returns the row for suite, or one that refuses it.
func (r *Report) entry(suite *keyschedule.Suite) Capability {
	if !r.Available {
		no := Support{Reason: r.Reason}
		return Capability{TX: no, RX: no}
	}
	for _, c := range r.Entries {
		if c.Version == suite.Version && c.Cipher == suite.Cipher {
			return c
		}
	}
	no := Support{Reason: "the kernel has no record protection for " + suite.Name}
	return Capability{TX: no, RX: no}
}
