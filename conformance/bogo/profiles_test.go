package bogo

import "github.com/go-handoff/tls"

// profile is a restriction to some algorithms, as fields of a Config.
type profile struct {
	suites  []uint16
	curves  []tls.CurveID
	schemes []tls.SignatureScheme
}

// profiles are those that BoringSSL has names for: SP 800-52r2, WPA3-Enterprise's
// 192-bit mode, and CNSA 1.0, the last two without what does not exist here.
var profiles = map[string]profile{
	"fips-202205": {
		suites: []uint16{
			tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		},
		curves: []tls.CurveID{tls.CurveP256, tls.CurveP384},
		schemes: []tls.SignatureScheme{
			tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512,
			tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384,
			tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512,
		},
	},
	"wpa-202304": {
		suites:  []uint16{tls.TLS_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
		curves:  []tls.CurveID{tls.CurveP384},
		schemes: []tls.SignatureScheme{tls.PKCS1WithSHA384, tls.PKCS1WithSHA512, tls.ECDSAWithP384AndSHA384, tls.PSSWithSHA384, tls.PSSWithSHA512},
	},
	"cnsa1-202603": {
		suites:  []uint16{tls.TLS_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
		curves:  []tls.CurveID{tls.CurveP384},
		schemes: []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384, tls.PSSWithSHA384, tls.PKCS1WithSHA384},
	},
}

// restrict applies the profile that the flags name, to what is verified, and to
// what is signed with where the flags leave it open.
func (o *options) restrict(c *tls.Config) {
	for name, p := range profiles {
		if !o.bools[name] {
			continue
		}
		c.CipherSuites, c.CurvePreferences, c.SignatureSchemes = p.suites, p.curves, p.schemes
		for _, cred := range o.credentials {
			if len(cred.prefs) > 0 {
				continue
			}
			for _, s := range p.schemes {
				cred.prefs = append(cred.prefs, int(s))
			}
		}
	}
}
