package https

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// tunnelTimeout is how long net/http waits for a proxy's answer to CONNECT.
const tunnelTimeout = time.Minute

// reachByProxy returns a connection to addr through the proxy.
func (d *dialer) reachByProxy(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := d.reachProxy(ctx)
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if d.isSOCKS() {
		err = d.connectSOCKS(conn, addr)
	} else {
		err = d.connectHTTP(ctx, conn, addr)
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// isSOCKS reports whether the proxy speaks SOCKS5. Both schemes mean, as in
// net/http, that it looks up the names.
func (d *dialer) isSOCKS() bool { return d.proxy.Scheme == "socks5" || d.proxy.Scheme == "socks5h" }

func (d *dialer) reachProxy(ctx context.Context) (net.Conn, error) {
	if d.proxy.Scheme != "http" && d.proxy.Scheme != "https" && !d.isSOCKS() {
		return nil, fmt.Errorf("proxies with the scheme %q are not supported", d.proxy.Scheme)
	}
	addr, err := canonicalAddr(d.proxy)
	if err != nil {
		return nil, err
	}
	conn, err := d.dialTCP(ctx, addr)
	if err != nil || d.proxy.Scheme != "https" {
		return conn, err
	}
	c, err := d.handshake(ctx, conn, addr, []string{protoHTTP1})
	if err != nil {
		return nil, err // and not c, which would be an interface that is not nil
	}
	return c, nil
}

// connectHTTP asks a proxy to connect conn with addr (RFC 9110, section 9.3.6).
func (d *dialer) connectHTTP(ctx context.Context, conn net.Conn, addr string) error {
	header, err := d.connectHeader(ctx, addr)
	if err != nil {
		return err
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: header}
	if err := req.Write(conn); err != nil {
		return err
	}
	// What is buffered beyond the answer is lost, and there is nothing: a server
	// speaks TLS after it was spoken to.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, d.maxHeader())), req)
	if err != nil {
		return err
	}
	if d.base.OnProxyConnectResponse != nil {
		if err := d.base.OnProxyConnectResponse(ctx, d.proxy, req, resp); err != nil {
			return err
		}
	}
	if resp.StatusCode != http.StatusOK {
		_, text, _ := strings.Cut(resp.Status, " ")
		return errors.New(text) // as net/http says it
	}
	return nil
}

// maxHeader is net/http's bound on the answer's size, in bytes.
func (d *dialer) maxHeader() int64 {
	if d.base.MaxResponseHeaderBytes > 0 {
		return d.base.MaxResponseHeaderBytes
	}
	return 10 << 20
}

func (d *dialer) connectHeader(ctx context.Context, addr string) (http.Header, error) {
	header := d.base.ProxyConnectHeader
	if d.base.GetProxyConnectHeader != nil {
		var err error
		if header, err = d.base.GetProxyConnectHeader(ctx, d.proxy, addr); err != nil {
			return nil, err
		}
	}
	if header = header.Clone(); header == nil {
		header = make(http.Header)
	}
	if user := d.proxy.User; user != nil {
		password, _ := user.Password()
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	return header, nil
}

// What SOCKS5 is made of (RFC 1928).
const (
	socksVersion      = 5
	socksNoAuth       = 0
	socksPassword     = 2
	socksConnect      = 1
	socksIPv4         = 1
	socksName         = 3
	socksIPv6         = 4
	socksOK           = 0
	socksLoginVersion = 1 // of RFC 1929
)

// socksErrors are the meanings of a refusal (RFC 1928, section 6).
var socksErrors = []string{
	1: "general failure", 2: "connection not allowed", 3: "network unreachable", 4: "host unreachable",
	5: "connection refused", 6: "TTL expired", 7: "command not supported", 8: "address type not supported",
}

// connectSOCKS asks a SOCKS5 proxy to connect conn with addr.
func (d *dialer) connectSOCKS(conn net.Conn, addr string) error {
	if err := d.greetSOCKS(conn); err != nil {
		return err
	}
	target, err := socksAddr(addr)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append([]byte{socksVersion, socksConnect, 0}, target...)); err != nil {
		return err
	}
	var reply [4]byte
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return err
	}
	if code := int(reply[1]); code != socksOK {
		if code < len(socksErrors) {
			return fmt.Errorf("socks: %s", socksErrors[code])
		}
		return fmt.Errorf("socks: error %d", code)
	}
	return skipSOCKSAddr(conn, reply[3])
}

// greetSOCKS agrees on how to authenticate, and does so (RFC 1929).
func (d *dialer) greetSOCKS(conn net.Conn) error {
	hello := []byte{socksVersion, 1, socksNoAuth}
	if d.proxy.User != nil {
		hello = []byte{socksVersion, 2, socksNoAuth, socksPassword}
	}
	answer, err := askSOCKS(conn, hello)
	switch {
	case err != nil:
		return err
	case answer[0] != socksVersion:
		return errors.New("socks: the proxy does not speak SOCKS5")
	case answer[1] == socksNoAuth:
		return nil
	case answer[1] != socksPassword || d.proxy.User == nil:
		return errors.New("socks: no way to authenticate that the proxy accepts")
	}
	name := d.proxy.User.Username()
	password, _ := d.proxy.User.Password()
	if len(name) > 255 || len(password) > 255 {
		return errors.New("socks: user name or password too long")
	}
	login := append([]byte{socksLoginVersion, byte(len(name))}, name...)
	login = append(append(login, byte(len(password))), password...)
	if answer, err = askSOCKS(conn, login); err == nil && answer[1] != 0 {
		err = errors.New("socks: the proxy refuses user name and password")
	}
	return err
}

// askSOCKS sends a question that is answered by two bytes.
func askSOCKS(conn net.Conn, question []byte) (answer [2]byte, err error) {
	if _, err = conn.Write(question); err == nil {
		_, err = io.ReadFull(conn, answer[:])
	}
	return answer, err
}

// socksAddr returns addr as SOCKS5 has it.
func socksAddr(addr string) ([]byte, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	var b []byte
	switch ip, err := netip.ParseAddr(host); {
	case err == nil && ip.Is4():
		b = append([]byte{socksIPv4}, ip.AsSlice()...)
	case err == nil:
		b = append([]byte{socksIPv6}, ip.AsSlice()...)
	case len(host) > 255:
		return nil, errors.New("socks: host name too long")
	default:
		b = append([]byte{socksName, byte(len(host))}, host...)
	}
	return append(b, byte(port>>8), byte(port)), nil
}

// skipSOCKSAddr reads past the address that the proxy connects from.
func skipSOCKSAddr(conn net.Conn, kind byte) error {
	var n int64
	switch kind {
	case socksIPv4:
		n = 4
	case socksIPv6:
		n = 16
	case socksName:
		var length [1]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return err
		}
		n = int64(length[0])
	default:
		return fmt.Errorf("socks: address of unknown type %d", kind)
	}
	_, err := io.CopyN(io.Discard, conn, n+2)
	return err
}
