package bogo

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// options are the flags of one connection.
type options struct {
	bools   map[string]bool
	strings map[string]string
	ints    map[string]int
	lists   map[string][]int
	bytes   map[string][]byte

	credentials []*credential // the first one is the default, if it has a certificate
}

// credential is what a side can show of itself.
type credential struct {
	kind        string // "" for the default one, or the flag that began it
	chain, key  string // files
	ocsp, scts  []byte
	prefs       []int
	mustMatch   bool
	psk         []byte
	pskIdentity []byte
	pskContext  []byte
	pskSHA384   bool
}

func newOptions() *options {
	return &options{
		bools:       make(map[string]bool),
		strings:     make(map[string]string),
		ints:        make(map[string]int),
		lists:       make(map[string][]int),
		bytes:       make(map[string][]byte),
		credentials: []*credential{new(credential)},
	}
}

// kind is what follows a flag.
type kind uint8

const (
	isBool kind = iota + 1
	isString
	isInt
	isList
	isBytes
)

// flagKinds are the flags that the shim implements, credentials' apart.
var flagKinds = map[string]kind{
	"server": isBool, "ipv6": isBool, "async": isBool, "implicit-handshake": isBool,
	"shim-writes-first": isBool, "check-close-notify": isBool, "shim-shuts-down": isBool,
	"no-op-extra-handshake": isBool, "handshake-twice": isBool,
	"no-tls12": isBool, "no-tls13": isBool,
	"verify-peer": isBool, "verify-fail": isBool, "require-any-client-certificate": isBool,
	"use-custom-verify-callback": isBool,
	"reverify-on-resume":         isBool, "fail-cert-callback": isBool,
	"expect-no-peer-cert": isBool,
	"expect-session-miss": isBool, "expect-no-session": isBool, "expect-no-session-id": isBool, "expect-session-id": isBool,
	"expect-extended-master-secret": isBool, "expect-ticket-renewal": isBool, "no-ticket": isBool,
	"expect-ticket-supports-early-data": isBool, "enable-early-data": isBool,
	"expect-accept-early-data": isBool, "expect-reject-early-data": isBool,
	"expect-hrr": isBool, "expect-no-hrr": isBool, "key-update": isBool,
	"use-export-context": isBool, "reject-alpn": isBool, "tls-unique": isBool,
	"fail-early-callback": isBool, "expect-no-offer-early-data": isBool,
	"fips-202205": isBool, "wpa-202304": isBool, "cnsa1-202603": isBool,
	"decline-ocsp-callback": isBool, "fail-ocsp-callback": isBool,
	"fail-ddos-callback": isBool, "send-alert": isBool, "no-key-shares": isBool, "install-cert-compression-algs": isBool, "export-traffic-secrets": isBool,

	"host-name": isString, "advertise-alpn": isString, "expect-alpn": isString,
	"select-alpn": isString, "expect-server-name": isString, "expect-advertised-alpn": isString,
	"export-label": isString, "export-context": isString, "shim-initial-write": isString,
	"expect-peer-cert-file": isString, "expect-msg-callback": isString,
	"use-client-ca-list": isString, "expect-client-ca-list": isString, "cipher": isString,

	"port": isInt, "shim-id": isInt, "resume-count": isInt, "max-version": isInt, "min-version": isInt,
	"expect-version": isInt, "expect-cipher": isInt, "expect-cipher-aes": isInt,
	"expect-curve-id": isInt, "expect-peer-signature-algorithm": isInt, "export-keying-material": isInt,
	"repeat-shim-initial-write": isInt, "read-size": isInt, "expect-selected-credential": isInt,
	"expect-total-renegotiations": isInt, "resumption-delay": isInt, "expect-peer-certificate-type": isInt, "install-one-cert-compression-alg": isInt, "expect-ticket-age-skew": isInt,

	"curves": isList, "verify-prefs": isList, "expect-peer-verify-pref": isList,
	"accepted-peer-cert-types": isList, "key-shares": isList, "available-client-cert-types": isList,

	"expect-ocsp-response": isBytes, "expect-signed-cert-timestamps": isBytes, "expect-peer-rpk-sha256": isBytes,
}

// credentialFlags are those of the credential that was begun last.
var credentialFlags = map[string]func(c *credential, value string) error{
	"cert-file":              func(c *credential, v string) error { c.chain = v; return nil },
	"key-file":               func(c *credential, v string) error { c.key = v; return nil },
	"ocsp-response":          func(c *credential, v string) (err error) { c.ocsp, err = decode(v); return err },
	"signed-cert-timestamps": func(c *credential, v string) (err error) { c.scts, err = decode(v); return err },
	"psk-importer-key":       func(c *credential, v string) (err error) { c.psk, err = decode(v); return err },
	"psk-importer-identity":  func(c *credential, v string) (err error) { c.pskIdentity, err = decode(v); return err },
	"psk-importer-context":   func(c *credential, v string) (err error) { c.pskContext, err = decode(v); return err },
	"signing-prefs": func(c *credential, v string) error {
		n, err := strconv.Atoi(v)
		c.prefs = append(c.prefs, n)
		return err
	},
}

// credentialSwitches are flags of credentials without a value.
var credentialSwitches = map[string]func(*credential){
	"must-match-issuer":   func(c *credential) { c.mustMatch = true },
	"psk-importer-sha256": func(*credential) {},
	"psk-importer-sha384": func(c *credential) { c.pskSHA384 = true },
}

var newCredential = map[string]bool{"new-x509-credential": true, "new-psk-credential": true, "new-rpk-credential": true}

func decode(v string) ([]byte, error) { return base64.StdEncoding.DecodeString(v) }

// unimplemented is a flag that the shim does not know.
type unimplemented struct{ flag string }

func (u unimplemented) Error() string { return "unimplemented flag " + u.flag }

// parsed are the options of the first connection, of those that resume, and of
// one that goes on after early data was rejected.
type parsed struct{ initial, resume, retry *options }

func parse(args []string) (*parsed, error) {
	p := &parsed{newOptions(), newOptions(), newOptions()}
	for len(args) > 0 {
		name, ok := strings.CutPrefix(args[0], "-")
		if !ok {
			return nil, fmt.Errorf("%q is no flag", args[0])
		}
		rest, err := p.take(name, args[1:])
		if err != nil {
			return nil, err
		}
		args = rest
	}
	return p, nil
}

// take takes one flag and returns what follows.
func (p *parsed) take(name string, args []string) ([]string, error) {
	targets := []*options{p.initial, p.resume, p.retry}
	for prefix, only := range map[string]*options{"on-initial-": p.initial, "on-resume-": p.resume, "on-retry-": p.retry} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			name, targets = rest, []*options{only}
		}
	}
	name = strings.TrimPrefix(name, "on-shim-")
	hasValue, known := valued(name)
	if !known {
		return nil, unimplemented{name}
	}
	value := ""
	if hasValue {
		if len(args) == 0 {
			return nil, fmt.Errorf("-%s needs a value", name)
		}
		value, args = args[0], args[1:]
	}
	for _, o := range targets {
		if err := o.set(name, value); err != nil {
			return nil, fmt.Errorf("-%s: %w", name, err)
		}
	}
	return args, nil
}

// valued reports whether a flag has a value, and whether there is such a flag.
func valued(name string) (hasValue, known bool) {
	if k, ok := flagKinds[name]; ok {
		return k != isBool, true
	}
	if f, ok := ignored[name]; ok {
		return f.kind != isBool, true
	}
	if credentialFlags[name] != nil {
		return true, true
	}
	return false, credentialSwitches[name] != nil || newCredential[name]
}

func (o *options) set(name, value string) (err error) {
	last := o.credentials[len(o.credentials)-1]
	switch {
	case newCredential[name]:
		o.credentials = append(o.credentials, &credential{kind: name})
		return nil
	case credentialSwitches[name] != nil:
		credentialSwitches[name](last)
		return nil
	case credentialFlags[name] != nil:
		return credentialFlags[name](last, value)
	}
	switch flagKinds[name] {
	case isBool:
		o.bools[name] = true
	case isString:
		o.strings[name] = value
	case isInt:
		o.ints[name], err = strconv.Atoi(value)
	case isList:
		n, err := strconv.Atoi(value)
		o.lists[name] = append(o.lists[name], n)
		return err
	case isBytes:
		o.bytes[name], err = decode(value)
	}
	return err
}
