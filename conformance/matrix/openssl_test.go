package matrix

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// openssl is openssl s_server and s_client.
func (r *release) openssl() *peer {
	return &peer{
		version: func() (string, error) { return banner(`^(OpenSSL \d\S+)`, r.tls.Command, "openssl", "version") },
		cannot: func(_ role, p *plan) string {
			if p.group == tls.X25519MLKEM768 && r.old() {
				return "OpenSSL has ML-KEM since 3.5"
			}
			return ""
		},
		serve: r.serveOpenSSL, visit: r.visitOpenSSL,
	}
}

var groupNames = map[tls.CurveID]string{
	tls.X25519: "X25519", tls.CurveP256: "P-256", tls.CurveP384: "P-384", tls.CurveP521: "P-521", tls.X448: "X448", tls.X25519MLKEM768: "X25519MLKEM768",
}

func (p *plan) opensslArgs() []string {
	args := []string{"-tls1_" + p.dotted()[2:], "-CAfile", roots, "-alpn", protocol}
	if p.exporter {
		args = append(args, "-keymatexport", label, "-keymatexportlen", "32")
	}
	return args
}

var (
	opensslListens  = regexp.MustCompile(`(?m)^ACCEPT (127\.0\.0\.1:\d+)$`)
	opensslSuite    = regexp.MustCompile(`(?m)(?:^Ciphersuite: |^CIPHER is |, Cipher is )(\S+)`)
	opensslVersion  = regexp.MustCompile(`(?m)^(?:Protocol version: |(?:New|Reused), )(TLSv1\.\d)`)
	opensslGroup    = regexp.MustCompile(`(?m)^Negotiated TLS1\.3 group: (\S+)`)
	opensslKey      = regexp.MustCompile(`(?m)^(?:Server|Peer) Temp Key: (?:ECDH, )?([\w-]+)`)
	opensslALPN     = regexp.MustCompile(`(?m)^ALPN protocols? ?(?:selected)?: (\S+)`)
	opensslMaterial = regexp.MustCompile(`Keying material: ([0-9A-F]+)`)
	opensslClient   = regexp.MustCompile(`(?m)^(?:Peer certificate: |subject=)CN ?= ?(\S+)`)
)

// last returns the first group of the last match, "" if there is none.
func last(re *regexp.Regexp, text string) string {
	all := re.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}

func opensslSeen(text string) seen {
	s := seen{
		Version: last(opensslVersion, text), Suite: last(opensslSuite, text), Group: last(opensslGroup, text),
		ALPN: last(opensslALPN, text), Exported: last(opensslMaterial, text),
	}
	if s.Group == "" && !strings.Contains(text, "\nNegotiated TLS1.3 group") {
		s.Group = last(opensslKey, text)
	}
	return s
}

// serveOpenSSL starts s_server: one that sends lines back in reverse, or one
// that can be told things.
func (r *release) serveOpenSSL(t testing.TB, p *plan) *far {
	args := append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", p.identity()}, p.opensslArgs()...)
	if p.group != 0 {
		args = append(args, "-groups", groupNames[p.group])
	}
	if p.auth != notAsked {
		args = append(args, "-Verify", "1", "-verify_return_error")
	}
	if p.early {
		args = append(args, "-early_data")
	}
	told := p.resume || p.update == theirs || p.exporter || p.end == clean
	if !told {
		args = append(args, "-rev")
	}
	if p.update == theirs {
		args = append(args, "-msg")
	}
	s := process.Start(t, func(ctx context.Context) *exec.Cmd { return r.tls.Command(ctx, "openssl", args...) })
	resumed, exchanged := 0, 0
	f := &far{addr: s.Match(opensslListens)[1], kill: s.Kill, rekey: func() { rekeyOpenSSL(s) }}
	f.exchange = func(conn *tls.Conn) {
		if told {
			send(t, conn, small)
			exchanged++
			s.Times(string(small), exchanged)
			s.Say(strings.TrimSpace(string(small)))
			receive(t, conn, small)
		} else {
			echo(t, conn, p.payload(), reversed(p.payload()))
		}
	}
	f.seen = func() seen {
		v := opensslSeen(s.Output())
		if p.auth == given {
			v.Client = last(opensslClient, s.Output())
		}
		if before := resumed; told {
			resumed = strings.Count(s.Output(), "Reused session-id")
			v.Resumed = fmt.Sprint(resumed > before)
		}
		return v
	}
	return f
}

// rekeyOpenSSL makes it change keys, and waits until that is done: the command is
// not to be taken for a part of what comes next.
func rekeyOpenSSL(p *process.Process) {
	p.Say("K")
	p.Expect(">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
}

// reversed returns what s_server -rev makes of lines.
func reversed(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for line := range bytes.Lines(b) {
		line = slices.Clone(bytes.TrimSuffix(line, []byte("\n")))
		slices.Reverse(line)
		out = append(append(out, line...), '\n')
	}
	return out
}

// visitOpenSSL is s_client: in a pipe for what is large, else in dialogue.
func (r *release) visitOpenSSL(t testing.TB, p *plan, port int) *far {
	args := append([]string{
		"s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", port), "-servername", serverName, "-verify_hostname", serverName, "-verify_return_error",
	}, p.opensslArgs()...)
	if p.visitor() != "" {
		args = append(args, "-cert", p.visitor())
	}
	if p.group != 0 && !p.retry {
		args = append(args, "-groups", groupNames[p.group])
	}
	if p.large {
		args = append(args, "-quiet")
	}
	if p.update == theirs {
		args = append(args, "-msg")
	}
	file, stdout := filepath.Join(t.TempDir(), "session"), outputFile(t)
	var c *process.Process
	exchanged := 0
	f := &far{kill: func() { c.Kill() }, rekey: func() { rekeyOpenSSL(c) }}
	if !p.large { // in a pipe, it waits for our end
		f.leave = func() { _ = c.Stdin.Close() }
	}
	f.connect = func(n int) {
		exchanged = 0
		own := slices.Clone(args)
		if p.resume {
			own = append(own, [][]string{{"-sess_out", file}, {"-sess_in", file}}[n]...)
		}
		if p.early && n == 1 {
			own = append(own, "-early_data", smallFile)
		}
		c = process.Start(t, func(ctx context.Context) *exec.Cmd { return r.tls.Command(ctx, "openssl", own...) }, func(cmd *exec.Cmd) {
			if p.large {
				cmd.Stdout = stdout
			}
		})
	}
	f.exchange = func(conn *tls.Conn) {
		if p.large {
			relay(t, c, stdout, conn, p.payload())
			return
		}
		c.Say(strings.TrimSpace(string(small)))
		answer(t, conn, small)
		exchanged++
		c.Times(string(small), exchanged)
	}
	f.seen = func() seen {
		v := opensslSeen(c.Output())
		if !p.large {
			v.Resumed = fmt.Sprint(strings.Contains(c.Output(), "\nReused, "))
		}
		return v
	}
	f.refused = func(*tls.Conn) { c.Expect("alert number") }
	return f
}
