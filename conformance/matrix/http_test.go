package matrix

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// seenHeader is what a proxy says of the connection that a request came by, to
// the server behind it, which says it to the client.
const seenHeader = "X-Seen"

// behind starts the server behind a proxy, which sends back what it gets.
func behind(t testing.TB) (port int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return // the client is told by the missing answer
		}
		w.Header().Set(seenHeader, req.Header.Get(seenHeader))
		_, _ = w.Write(b)
	})}
	go srv.Serve(l) //nolint:errcheck // it says that it was closed
	t.Cleanup(func() { srv.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// proxy is an HTTP server of somebody else's that does TLS for the one behind it.
type proxy struct {
	command func(ctx context.Context, dir, config string) *exec.Cmd
	config  func(p *plan, dir string, port, behind int) string
	// says is that it refuses clients by an answer, not by an alert.
	says bool
}

// serve starts it on a port that is kept free for it.
func (x *proxy) serve(t testing.TB, p *plan) *far {
	dir, port := t.TempDir(), reserve(t)
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte(x.config(p, dir, port, behind(t))), 0o600); err != nil {
		t.Fatal(err)
	}
	s := process.Start(t, func(ctx context.Context) *exec.Cmd { return x.command(ctx, dir, config) })
	awaitListener(t, s, port)
	f, latest := &far{addr: loopbackAddr(port), kill: s.Kill}, seen{}
	f.exchange = func(conn *tls.Conn) {
		go post(conn, p.payload(), p.end == clean) // what is missing fails at the other end
		header := response(t, conn, p.payload())
		latest = parseSeen(header.Get(seenHeader))
	}
	f.seen = func() seen { return latest }
	if p.end == clean {
		f.leave = func() {} // it was asked to, by the request
	}
	if x.says {
		f.refused = func(conn *tls.Conn) { isBadRequest(t, conn) }
	}
	return f
}

// reserve returns a port that nobody gets who does not ask for it: a socket is
// bound to it until the test ends, which a program that binds its own in the usual
// way does not mind.
func reserve(t testing.TB) (port int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	syscall.CloseOnExec(fd)
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return name.(*syscall.SockaddrInet4).Port
}

// awaitListener waits until the program listens.
func awaitListener(t testing.TB, s *process.Process, port int) {
	t.Helper()
	for {
		conn, err := net.Dial("tcp", loopbackAddr(port))
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-s.Done():
			t.Fatal("it does not listen")
		}
	}
}

// post sends a request, which may be the last one.
func post(conn io.Writer, body []byte, last bool) {
	more := map[bool]string{true: "Connection: close\r\n"}[last]
	_, _ = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n", serverName, more, len(body))
	_, _ = conn.Write(body)
}

// response reads the answer to a request with a body, and checks it.
func response(t testing.TB, conn io.Reader, body []byte) http.Header {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the answer: %v", err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(got, body) {
		t.Fatalf("the answer: %s, %d bytes, %v", resp.Status, len(got), err)
	}
	return resp.Header
}

// isBadRequest checks that the answer to a request says that it is refused.
func isBadRequest(t testing.TB, conn io.ReadWriter) {
	t.Helper()
	post(conn, nil, true)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the answer: %+v, %v", resp, err)
	}
}

// parseSeen reads what proxies say: names and values.
func parseSeen(header string) seen {
	m := map[string]string{}
	for field := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(field, "=")
		m[name] = value
	}
	resumed := map[string]string{".": "false", "0": "false", "r": "true", "1": "true"}[m["resumed"]]
	client := strings.TrimPrefix(m["client"], "CN=")
	return seen{Version: m["version"], Suite: m["suite"], Group: m["group"], ALPN: m["alpn"], Resumed: resumed, Client: client}
}

// proxyCannot is what no HTTP server can.
func (r *release) proxyCannot(role role, p *plan) string {
	switch {
	case p.group == tls.X25519MLKEM768 && r.old():
		return "OpenSSL has ML-KEM since 3.5"
	case p.exporter:
		return "it exports no keying material"
	case p.update == theirs:
		return "it changes keys only when it is asked to"
	}
	return ""
}

// nginx is one process of it.
func (r *release) nginx() *peer {
	command := func(ctx context.Context, dir, config string) *exec.Cmd {
		return r.apps.Command(ctx, "nginx", "-p", dir, "-e", "stderr", "-c", config)
	}
	x, g := &proxy{command, nginxConfig, true}, &gateway{command, nginxGateway, true}
	return &peer{
		http: true, early: func(t testing.TB, conn *tls.Conn) { response(t, conn, nil) },
		version: func() (string, error) {
			v, err := banner(`nginx/(\d\S+)`, r.apps.Command, "nginx", "-v")
			return "nginx " + v, err
		},
		cannot: r.proxyOrGatewayCannot, serve: x.serve, visit: g.visit,
	}
}

// nginxTemps keeps its files in a directory.
func nginxTemps(dir string) string {
	var temps strings.Builder
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temps, "%s_temp_path %s;\n", name, filepath.Join(dir, name))
	}
	return temps.String()
}

func nginxConfig(p *plan, dir string, port, behind int) string {
	more := ""
	if p.group != 0 {
		more += "ssl_ecdh_curve " + groupNames[p.group] + ";\n"
	}
	if p.auth != notAsked {
		more += "ssl_verify_client on; ssl_client_certificate " + roots + ";\n"
	}
	if p.early {
		more += "ssl_early_data on;\n"
	}
	return fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid;
events {}
http {
access_log off; client_max_body_size 0;
%[2]s
server {
listen 127.0.0.1:%[3]d ssl;
ssl_certificate %[4]s; ssl_certificate_key %[4]s; ssl_protocols TLSv%[5]s;
%[6]s
location / {
proxy_pass http://127.0.0.1:%[7]d;
proxy_set_header %[8]s "version=$ssl_protocol;suite=$ssl_cipher;group=$ssl_curve;alpn=$ssl_alpn_protocol;resumed=$ssl_session_reused;client=$ssl_client_s_dn";
}
}
}
`, dir, nginxTemps(dir), port, p.identity(), p.dotted(), more, behind, seenHeader)
}

// haproxy is one process of it.
func (r *release) haproxy() *peer {
	command := func(ctx context.Context, _, config string) *exec.Cmd {
		return r.apps.Command(ctx, "haproxy", "-db", "-f", config)
	}
	x, g := &proxy{command, haproxyConfig, false}, &gateway{command, haproxyGateway, false}
	return &peer{
		http: true, early: func(t testing.TB, conn *tls.Conn) { response(t, conn, nil) },
		version: func() (string, error) {
			v, err := banner(`version (\d[^\s-]+)`, r.apps.Command, "haproxy", "-v")
			return "HAProxy " + v, err
		},
		cannot: r.proxyOrGatewayCannot, serve: x.serve, visit: g.visit,
	}
}

func haproxyConfig(p *plan, _ string, port, behind int) string {
	bind := fmt.Sprintf("bind 127.0.0.1:%d ssl crt %s alpn %s ssl-min-ver TLSv%[4]s ssl-max-ver TLSv%[4]s", port, p.identity(), protocol, p.dotted())
	if p.group != 0 {
		bind += " curves " + groupNames[p.group]
	}
	if p.auth != notAsked {
		bind += " verify required ca-file " + roots
	}
	if p.early {
		bind += " allow-0rtt"
	}
	return fmt.Sprintf(`global
nbthread 1
maxconn 20
defaults
mode http
maxconn 20
timeout connect 30s
timeout client 30s
timeout server 30s
frontend f
%s
http-request set-header %s version=%%[ssl_fc_protocol];suite=%%[ssl_fc_cipher];alpn=%%[ssl_fc_alpn];resumed=%%[ssl_fc_is_resumed];client=%%[ssl_c_s_dn(CN)]
default_backend b
backend b
server s 127.0.0.1:%d
`, bind, seenHeader, behind)
}

// curl is the program.
func (r *release) curl() *peer {
	return &peer{
		http: true,
		version: func() (string, error) {
			v, err := banner(`^curl (\d\S+)`, r.tls.Command, "curl", "--version")
			return "curl " + v, err
		},
		cannot: func(role role, p *plan) string {
			if p.early {
				return "curl has no early data with OpenSSL"
			}
			return r.proxyCannot(role, p)
		},
		visit: r.visitCurl,
	}
}

var (
	curlSays = regexp.MustCompile(`SSL connection using (TLSv1\.\d) / (\S+)(?: / (\S+))?`)
	curlALPN = regexp.MustCompile(`ALPN: server accepted (\S+)`)
)

// curlArgs makes curl send the payload once on each connection, and write what
// comes back to files in a directory.
func (p *plan) curlArgs(dir string, port int) []string {
	args := []string{
		"-svN", "--disable", "--http1.1", "--cacert", roots, "--tlsv" + p.dotted(), "--tls-max", p.dotted(), "--noproxy", "*",
		"--resolve", fmt.Sprintf("%s:%d:127.0.0.1", serverName, port), "-H", "Expect:", "--data-binary", "@" + p.file(),
	}
	if p.visitor() != "" {
		args = append(args, "--cert", p.visitor())
	}
	if p.group != 0 && !p.retry {
		args = append(args, "--curves", groupNames[p.group])
	}
	for n := range p.connections() {
		args = append(args, "-o", filepath.Join(dir, fmt.Sprint(n)), fmt.Sprintf("https://%s:%d/", serverName, port))
	}
	return args
}

func (r *release) visitCurl(t testing.TB, p *plan, port int) *far {
	dir := t.TempDir()
	args := p.curlArgs(dir, port)
	var c *process.Process
	answered, connected := 0, 0
	f := &far{kill: func() { c.Kill() }, once: true}
	f.connect = func(n int) {
		if connected = n; n == 0 {
			c = process.Start(t, func(ctx context.Context) *exec.Cmd { return r.tls.Command(ctx, "curl", args...) })
		}
	}
	f.exchange = func(conn *tls.Conn) {
		serveOnce(t, p, conn)
		file := filepath.Join(dir, fmt.Sprint(answered))
		if answered++; answered == p.connections() && p.end != cut && p.end != clean {
			conn.CloseWrite() //nolint:errcheck // curl may be gone
		}
		if p.end != cut {
			t.Cleanup(func() {
				<-c.Done()
				if read(file) != string(p.payload()) {
					t.Errorf("curl received something else: %d bytes", len(read(file)))
				}
			})
		}
	}
	f.leave = func() {}
	f.seen = func() seen {
		if connected == p.connections()-1 {
			<-c.Done() // and so all is printed
		} else {
			c.Times("SSL connection using", connected+1)
		}
		text := c.Output()
		v := seen{ALPN: last(curlALPN, text)}
		if m := curlSays.FindAllStringSubmatch(text, -1); m != nil {
			v.Version, v.Suite, v.Group = m[len(m)-1][1], m[len(m)-1][2], m[len(m)-1][3]
		}
		full := strings.Count(text, "(IN), TLS handshake, Certificate (11)")
		v.Resumed = fmt.Sprint(connected == 1 && full == 1)
		return v
	}
	f.refused = func(*tls.Conn) {
		var exit *exec.ExitError
		if !errors.As(c.Err(), &exit) {
			t.Error("curl does not notice that it is refused")
		}
	}
	return f
}
