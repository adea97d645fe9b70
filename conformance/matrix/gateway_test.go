package matrix

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// gateway is an HTTP server of somebody else's without TLS, which has it to the
// server behind it: ours.
type gateway struct {
	command func(ctx context.Context, dir, config string) *exec.Cmd
	config  func(p *plan, dir string, port, behind int) string
	mute    bool // it says nothing of connections to the server behind it
}

// reply is what a gateway answers to a request.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func (g *gateway) visit(t testing.TB, p *plan, behind int) *far {
	dir, port := t.TempDir(), reserve(t)
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte(g.config(p, dir, port, behind)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := process.Start(t, func(ctx context.Context) *exec.Cmd { return g.command(ctx, dir, config) })
	awaitListener(t, s, port)
	var replies chan reply
	var latest seen
	f := &far{kill: s.Kill, once: true, mute: g.mute, leave: func() {}, seen: func() seen { return latest }}
	f.connect = func(int) {
		replies = make(chan reply, 1)
		go func(replies chan reply) { replies <- ask(port, p.payload()) }(replies)
	}
	f.exchange = func(conn *tls.Conn) {
		serveOnce(t, p, conn)
		if p.end == cut {
			return
		}
		r := <-replies
		if r.err != nil || r.status != http.StatusOK || r.body != string(p.payload()) {
			t.Fatalf("through the gateway comes %d, %d bytes: %v", r.status, len(r.body), r.err)
		}
		latest = parseSeen(r.header.Get(seenHeader))
	}
	f.refused = func(*tls.Conn) {
		if r := <-replies; r.status < http.StatusInternalServerError {
			t.Errorf("through the gateway comes %d: %v", r.status, r.err)
		}
	}
	return f
}

// ask sends a request to a gateway.
func ask(port int, body []byte) (r reply) {
	conn, err := net.DialTimeout("tcp", loopbackAddr(port), limit)
	if err != nil {
		return reply{err: err}
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return reply{err: err}
	}
	go post(conn, body, true) // what is missing fails at the other end
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return reply{err: err}
	}
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b), err}
}

// serveOnce receives a request with the payload, and sends it back. Our keys
// change in between if they are to: between requests, clients take what comes for
// the end. A connection that is to be cut gets an answer that goes on.
func serveOnce(t testing.TB, p *plan, conn *tls.Conn) {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		t.Fatalf("the request: %v", err)
	}
	receive(t, req.Body, p.payload())
	if p.update == ours {
		if err := conn.KeyUpdate(t.Context()); err != nil {
			t.Fatalf("KeyUpdate: %v", err)
		}
	}
	length := len(p.payload())
	if p.end == cut {
		length++
	}
	send(t, conn, fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", length, p.payload()))
}

// proxyOrGatewayCannot is what it cannot in front of a server of ours or behind
// a client of ours.
func (r *release) proxyOrGatewayCannot(role role, p *plan) string {
	if role == ourServer && p.early {
		return "it sends no early data to the server behind it unless a client of it did"
	}
	return r.proxyCannot(role, p)
}

func nginxGateway(p *plan, dir string, port, behind int) string {
	more := ""
	if p.group != 0 && !p.retry {
		more += "proxy_ssl_conf_command Groups " + groupNames[p.group] + ";\n"
	}
	if p.visitor() != "" {
		more += fmt.Sprintf("proxy_ssl_certificate %[1]s; proxy_ssl_certificate_key %[1]s;\n", p.visitor())
	}
	return fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid;
events {}
http {
access_log off; client_max_body_size 0;
%[2]s
server {
listen 127.0.0.1:%[3]d;
location / {
proxy_pass https://127.0.0.1:%[4]d;
proxy_ssl_protocols TLSv%[5]s;
proxy_ssl_name %[6]s; proxy_ssl_server_name on;
proxy_ssl_verify on; proxy_ssl_trusted_certificate %[7]s;
%[8]s}
}
}
`, dir, nginxTemps(dir), port, behind, p.dotted(), serverName, roots, more)
}

func haproxyGateway(p *plan, _ string, port, behind int) string {
	server := fmt.Sprintf("server s 127.0.0.1:%d ssl verify required ca-file %s sni str(%[3]s) verifyhost %[3]s alpn %[4]s ssl-min-ver TLSv%[5]s ssl-max-ver TLSv%[5]s",
		behind, roots, serverName, protocol, p.dotted())
	if p.visitor() != "" {
		server += " crt " + p.visitor()
	}
	return fmt.Sprintf(`global
nbthread 1
maxconn 20
defaults
mode http
maxconn 20
retries 0
timeout connect 30s
timeout client 30s
timeout server 30s
frontend f
bind 127.0.0.1:%d
default_backend b
backend b
http-response set-header %s version=%%[ssl_bc_protocol];suite=%%[ssl_bc_cipher];alpn=%%[ssl_bc_alpn];resumed=%%[ssl_bc_is_resumed]
%s
`, port, seenHeader, server)
}
