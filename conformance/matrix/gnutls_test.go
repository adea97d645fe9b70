package matrix

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// gnutls is gnutls-serv and gnutls-cli.
func (r *release) gnutls() *peer {
	return &peer{
		version: func() (string, error) {
			v, err := banner(`^gnutls-cli (\d\S+)`, r.tls.Command, "gnutls-cli", "--version")
			return "GnuTLS " + v, err
		},
		cannot: r.gnutlsCannot, serve: r.serveGnuTLS, visit: r.visitGnuTLS,
	}
}

func (r *release) gnutlsCannot(role role, p *plan) string {
	switch {
	case p.group == tls.X25519MLKEM768:
		return "Debian builds GnuTLS without ML-KEM"
	case role == ourClient && p.update == theirs:
		return "gnutls-serv has no command that changes keys"
	case role == ourServer && p.early && !r.old():
		return "gnutls-cli of 3.8 says \"error sending early data\", to its own server, too"
	}
	return ""
}

var gnutlsGroups = map[tls.CurveID]string{
	tls.X25519: "X25519", tls.CurveP256: "SECP256R1", tls.CurveP384: "SECP384R1", tls.CurveP521: "SECP521R1", tls.X448: "X448",
}

// gnutlsArgs has the priorities: all groups, or only the plan's.
func (p *plan) gnutlsArgs(restrict bool) []string {
	priority := "NORMAL:-VERS-ALL:+VERS-TLS" + p.dotted()
	if restrict {
		priority += ":-GROUP-ALL:+GROUP-" + gnutlsGroups[p.group]
	}
	args := []string{"--priority", priority, "--alpn", protocol, "--x509cafile", roots}
	if p.exporter {
		args = append(args, "--keymatexport", label, "--keymatexportsize", "32")
	}
	return args
}

// gnutlsPayload is less than that of others: gnutls-serv also says what it gets.
func (p *plan) gnutlsPayload() []byte { return p.payload()[:min(len(p.payload()), 1<<20/4000*4000)] }

// gnutlsClientPayload is even less: gnutls-cli writes each byte by itself.
func (p *plan) gnutlsClientPayload() []byte { return p.payload()[:min(len(p.payload()), 100_000)] }

var (
	gnutlsListens  = regexp.MustCompile(`(?m)bound to port (\d+)\ndone$`)
	gnutlsSays     = regexp.MustCompile(`(?m)^- Description: \((TLS1\.\d)[^)]*\)-\((?:ECDHE-)?([\w-]+)\)-(?:\([\w-]+\)-)?\(([\w-]+)\)`)
	gnutlsALPN     = regexp.MustCompile(`(?m)^- Application protocol: (\S+)`)
	gnutlsMaterial = regexp.MustCompile(`(?m)^- Key material: ([0-9a-f]+)`)
	gnutlsClient   = regexp.MustCompile(`(?m)^\tSubject: CN=(\S+)$`)
)

// gnutlsSeen reads what was printed of the last connection.
func gnutlsSeen(text string) seen {
	if i := strings.LastIndex(text, "- Description:"); i > 0 {
		before := text[:i]
		text = before[max(0, strings.LastIndex(before, "*** This is a resumed session")):] + text[i:]
	}
	v := seen{ALPN: last(gnutlsALPN, text), Exported: last(gnutlsMaterial, text)}
	if m := gnutlsSays.FindAllStringSubmatch(text, -1); m != nil {
		v.Version, v.Suite = m[len(m)-1][1], m[len(m)-1][3]
		v.Group = m[len(m)-1][2]
	}
	return v
}

func (r *release) serveGnuTLS(t testing.TB, p *plan) *far {
	args := append([]string{"--echo", "-p", "0", "--x509certfile", p.identity(), "--x509keyfile", p.identity()}, p.gnutlsArgs(p.retry)...)
	if p.auth == notAsked {
		args = append(args, "--disable-client-cert")
	} else {
		args = append(args, "--require-client-cert", "--verify-client-cert")
	}
	if p.early {
		args = append(args, "--earlydata", "--maxearlydata", "1000")
	}
	s := process.Start(t, func(ctx context.Context) *exec.Cmd {
		cmd := r.tls.Command(ctx, "gnutls-serv", args...)
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+loopback)
		return cmd
	})
	resumed, exchanged := 0, 0
	f := &far{addr: "127.0.0.1:" + s.Match(gnutlsListens)[1], kill: s.Kill}
	f.exchange = func(conn *tls.Conn) {
		echo(t, conn, p.gnutlsPayload(), p.gnutlsPayload())
		exchanged++
		s.Times("received cmd: ", exchanged) // and so all else of this connection is printed
	}
	f.seen = func() seen {
		v := gnutlsSeen(s.Output())
		if p.auth == given {
			v.Client = last(gnutlsClient, s.Output())
		}
		before := resumed
		resumed = strings.Count(s.Output(), "*** This is a resumed session")
		v.Resumed = fmt.Sprint(resumed > before)
		return v
	}
	return f
}

func (r *release) visitGnuTLS(t testing.TB, p *plan, port int) *far {
	log, stdout := filepath.Join(t.TempDir(), "log"), outputFile(t)
	args := append([]string{
		"--logfile", log, "--sni-hostname", serverName, "--verify-hostname", serverName, "-p", strconv.Itoa(port),
	}, p.gnutlsArgs(p.group != 0 && !p.retry)...)
	if p.visitor() != "" {
		args = append(args, "--x509certfile", p.visitor(), "--x509keyfile", p.visitor())
	}
	if p.resume {
		args = append(args, "--resume", "--waitresumption")
	}
	if p.early {
		args = append(args, "--earlydata", smallFile)
	}
	if p.update == theirs {
		args = append(args, "--inline-commands")
	}
	args = append(args, "127.0.0.1")
	var c *process.Process
	first := p.resume // without data: it comes back at once
	f := &far{kill: func() { c.Kill() }, brief: p.resume}
	f.connect = func(n int) {
		if n == 0 {
			c = process.Start(t, func(ctx context.Context) *exec.Cmd { return r.tls.Command(ctx, "gnutls-cli", args...) },
				func(cmd *exec.Cmd) { cmd.Stdout = stdout })
			return
		}
		first = false
	}
	f.exchange = func(conn *tls.Conn) {
		if !first {
			relay(t, c, stdout, conn, p.gnutlsClientPayload())
		}
	}
	f.leave = func() {
		if !first {
			_ = c.Stdin.Close()
		}
	}
	f.rekey = func() { c.Say("^rekey^") }
	f.seen = func() seen {
		if first {
			return seen{Resumed: "false"}
		}
		<-c.Done() // it prints what it has to say at the end
		text := read(log)
		v := gnutlsSeen(text)
		v.Resumed = fmt.Sprint(strings.Contains(text, "*** This is a resumed session"))
		return v
	}
	f.refused = func(*tls.Conn) {
		_ = c.Stdin.Close()
		if c.Err() == nil {
			t.Error("gnutls-cli does not notice that it is refused")
		}
	}
	return f
}

// read returns what a file has, "" if it cannot be read.
func read(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(b)
}
