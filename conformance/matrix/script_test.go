package matrix

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// python is a script on Python's ssl.
func (r *release) python() *peer {
	command := func(ctx context.Context, args ...string) *exec.Cmd { return r.apps.Command(ctx, "python3", args...) }
	s := &script{command, "testdata/peer.py", pythonGroups}
	return &peer{
		version: func() (string, error) {
			out, err := s.command(context.Background(), "-c", "import ssl, platform; print('Python', platform.python_version(), 'with', ' '.join(ssl.OPENSSL_VERSION.split()[:2]))").Output()
			return strings.TrimSpace(string(out)), err
		},
		cannot: r.pythonCannot, serve: s.serve, visit: s.visit,
	}
}

var pythonGroups = map[tls.CurveID]string{tls.CurveP256: "prime256v1", tls.CurveP384: "secp384r1", tls.CurveP521: "secp521r1"}

func (r *release) pythonCannot(_ role, p *plan) string {
	switch {
	case p.group == tls.X25519MLKEM768 && r.old():
		return "OpenSSL has ML-KEM since 3.5"
	case p.exporter:
		return "Python's ssl exports no keying material"
	case p.update == theirs:
		return "Python's ssl has no function that changes keys"
	case p.early:
		return "Python's ssl has no early data"
	}
	return ""
}

// node is a script on Node's tls.
func node() *peer {
	command := func(ctx context.Context, args ...string) *exec.Cmd { return exec.CommandContext(ctx, "node", args...) }
	s := &script{command, "testdata/peer.js", groupNames}
	return &peer{
		version: func() (string, error) {
			out, err := s.command(context.Background(), "-p", "`Node ${process.versions.node} with OpenSSL ${process.versions.openssl}`").Output()
			return strings.TrimSpace(string(out)), err
		},
		cannot: nodeCannot, serve: s.serve, visit: s.visit,
	}
}

func nodeCannot(_ role, p *plan) string {
	switch {
	case p.group == tls.X25519MLKEM768:
		return "OpenSSL has ML-KEM since 3.5"
	case p.update == theirs:
		return "Node's tls has no function that changes keys"
	case p.early:
		return "Node's tls has no early data"
	}
	return ""
}

// script is a program in another language that is told what to do by JSON, and
// says in JSON what it sees.
type script struct {
	command func(ctx context.Context, args ...string) *exec.Cmd
	file    string
	groups  map[tls.CurveID]string // that it can be restricted to
}

// order is what a script is told.
type order struct {
	Mode    string `json:"mode"`
	Version string `json:"version"`
	Roots   string `json:"roots"`
	ALPN    string `json:"alpn"`
	Cert    string `json:"cert"`
	Demand  bool   `json:"demand"`
	Group   string `json:"group"`
	Payload string `json:"payload"`
	Port    int    `json:"port"`
	Visits  int    `json:"visits"`
	Rounds  int    `json:"rounds"`
	Name    string `json:"name"`
}

// said is a line that a script prints.
type said struct {
	Seen bool   `json:"seen"`
	Port int    `json:"port"`
	Hash string `json:"hash"`
	End  string `json:"end"`
	seen
}

// running is a script that runs.
type running struct {
	t testing.TB
	*process.Process
	read int // lines of it
}

func (s *script) start(t testing.TB, o order) *running {
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return &running{t: t, Process: process.Start(t, func(ctx context.Context) *exec.Cmd { return s.command(ctx, s.file, string(b)) })}
}

// next returns the next line that the script prints and that is of a kind.
func (r *running) next(is func(said) bool) (v said) {
	r.t.Helper()
	for {
		r.Times("\n", r.read+1)
		line := strings.SplitAfter(r.Output(), "\n")[r.read]
		r.read++
		v = said{}
		if err := json.Unmarshal([]byte(line), &v); err == nil && is(v) {
			return v
		}
	}
}

func (s *script) serve(t testing.TB, p *plan) *far {
	o := order{Mode: "server", Version: p.dotted(), Roots: roots, ALPN: protocol, Cert: p.identity(), Demand: p.auth != notAsked, Group: s.groups[p.group]}
	r := s.start(t, o)
	port := r.next(func(v said) bool { return v.Port != 0 }).Port
	return &far{
		addr: loopbackAddr(port), kill: r.Kill,
		exchange: func(conn *tls.Conn) { echo(t, conn, p.payload(), p.payload()) },
		seen:     func() seen { return r.next(func(v said) bool { return v.Seen }).seen },
	}
}

func (s *script) visit(t testing.TB, p *plan, port int) *far {
	o := order{
		Mode: "client", Version: p.dotted(), Roots: roots, ALPN: protocol, Cert: p.visitor(), Payload: p.file(), Port: port,
		Visits: p.connections(), Rounds: p.rounds(), Name: serverName,
	}
	if !p.retry {
		o.Group = s.groups[p.group]
	}
	r := s.start(t, o)
	var latest seen
	return &far{
		kill: r.Kill, connect: func(int) {}, // it does by itself
		exchange: func(conn *tls.Conn) {
			answer(t, conn, p.payload())
			hash := ""
			r.next(func(v said) bool {
				if hash = v.Hash; v.Seen {
					latest = v.seen
				}
				return hash != ""
			})
			if want := sha256.Sum256(p.payload()); hash != hex.EncodeToString(want[:]) {
				t.Error("they received something else")
			}
		},
		seen:  func() seen { return latest },
		leave: func() { r.Say("leave") },
		refused: func(*tls.Conn) {
			if r.Err() == nil {
				t.Error("they do not notice that they are refused")
			}
		},
	}
}
