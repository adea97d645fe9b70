package bogo

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/handshake"
)

const (
	statusFailed        = 1
	statusUnimplemented = 89
)

// shim is the whole program: it returns the exit status.
func shim(args []string) int {
	p, err := parse(args)
	if err == nil {
		err = p.run()
	}
	u := unimplemented{}
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &u):
		fmt.Fprintf(os.Stderr, "%v\n%s\n", err, classify(err))
		return statusFailed
	case u.flag == "is-handshaker-supported":
		fmt.Println("No")
		return 0
	case reasonFor(u.flag) == "":
		fmt.Fprintln(os.Stderr, err, "and no reason why")
		return statusFailed
	}
	fmt.Fprintln(os.Stderr, err)
	note(u.flag)
	return statusUnimplemented
}

// note tells the test which flag it was.
func note(flag string) {
	file := os.Getenv(flagsFile)
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, flag)
}

// classify names an error for the error map: by the alert that it has caused, or
// that the peer has sent.
func classify(err error) string {
	var (
		remote *net.OpError
		header tls.RecordHeaderError
		config *tls.ConfigError
	)
	a := tls.AlertError(0)
	switch {
	case errors.As(err, &header):
		return "[no TLS]"
	case errors.As(err, &config):
		return "[bad Config]"
	case !errors.As(err, &a):
		return "[no alert]"
	case errors.As(err, &remote) && remote.Op == "remote error":
		return "[remote " + handshake.Alert(a).String() + "]"
	}
	return "[local " + handshake.Alert(a).String() + "]"
}

// run makes one connection after the other.
func (p *parsed) run() error {
	l := newLasting()
	for i := range p.initial.ints["resume-count"] + 1 {
		o := p.initial
		if i > 0 {
			o = p.resume
		}
		if err := o.connection(l, p.retry, i > 0); err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		l.clock = l.clock.Add(time.Duration(o.ints["resumption-delay"]) * time.Second)
	}
	return nil
}

// dial connects to the runner and says who this is.
func (o *options) dial() (net.Conn, error) {
	host := "127.0.0.1"
	if o.bools["ipv6"] {
		host = "::1"
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(o.ints["port"])))
	if err != nil {
		return nil, err
	}
	id := binary.LittleEndian.AppendUint64(nil, uint64(o.ints["shim-id"]))
	if _, err := conn.Write(id); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// trickle is a connection that gives a byte at a time.
type trickle struct{ net.Conn }

func (t trickle) Read(b []byte) (int, error) { return t.Conn.Read(b[:min(len(b), 1)]) }

// open is a connection that stays open when it is closed, to be drained.
type open struct{ net.Conn }

func (open) Close() error { return nil }

// connection makes one connection.
func (o *options) connection(l *lasting, retry *options, resumes bool) error {
	s := &seen{psks: make(map[string]int)}
	config, err := o.config(l, s)
	if err != nil {
		return err
	}
	raw, err := o.dial()
	if err != nil {
		return err
	}
	defer drain(raw)
	inner := raw
	if o.bools["async"] {
		inner = trickle{raw}
	}
	if o.bools["send-alert"] {
		inner = open{inner}
	}
	conn := tls.Client(inner, config)
	if o.bools["server"] {
		conn = tls.Server(inner, config)
	}
	s.conn, s.retry = conn, retry
	x := &exchange{options: o, conn: conn, seen: s, retry: retry, resumes: resumes}
	return x.run()
}

// drain closes a connection as gently as BoringSSL's shim does, so that what was
// sent arrives.
func drain(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		_ = tcp.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, tcp)
	}
	c.Close()
}

// exchange is a connection and what becomes of it.
type exchange struct {
	*options
	conn    *tls.Conn
	seen    *seen
	retry   *options
	resumes bool

	wroteFirst bool // early
}

// early sends or receives early data, where it is enabled.
func (x *exchange) early() error {
	if !x.bools["enable-early-data"] {
		return nil
	}
	if !x.bools["server"] {
		return x.offerEarly()
	}
	buf := make([]byte, 512)
	for {
		n, err := x.conn.ReadEarlyData(buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range buf[:n] {
			buf[i] ^= 0xff
		}
		if _, err := x.conn.WriteEarlyData(buf[:n]); err != nil {
			return err
		}
	}
}

// offerEarly writes what is to be written first as early data, if it can be.
func (x *exchange) offerEarly() error {
	_, err := x.conn.WriteEarlyData(nil)
	if errors.Is(err, tls.ErrNoEarlyData) {
		return nil
	}
	if err != nil {
		return err
	}
	if x.bools["expect-no-offer-early-data"] {
		return errors.New("early data is offered")
	}
	if !x.bools["shim-writes-first"] {
		return nil
	}
	text, n := x.initialWrite()
	data := []byte(strings.Repeat(text, n))
	m, err := x.conn.WriteEarlyData(data)
	if err != nil && !errors.Is(err, tls.ErrEarlyDataLimit) {
		return err
	}
	if err := x.conn.Handshake(); err != nil {
		return err
	}
	if !x.conn.EarlyData().Accepted {
		x.retried()
		return nil // and it is written again
	}
	x.wroteFirst = true
	_, err = x.conn.Write(data[m:])
	return err
}

// retried goes on with the options for a connection whose early data is rejected.
func (x *exchange) retried() { x.options = x.retry }

func (x *exchange) run() error {
	if err := x.early(); err != nil {
		return err
	}
	if !x.bools["implicit-handshake"] {
		if err := x.conn.Handshake(); err != nil {
			return err
		}
		if err := x.check(); err != nil {
			return err
		}
		if x.bools["no-op-extra-handshake"] || x.bools["handshake-twice"] {
			if err := x.conn.Handshake(); err != nil {
				return err
			}
		}
	}
	if err := x.writeFirst(); err != nil {
		return err
	}
	if !x.bools["shim-shuts-down"] {
		if err := x.echo(); err != nil {
			return err
		}
		if err := x.checkSession(); err != nil {
			return err
		}
	}
	if want, ok := x.strings["expect-msg-callback"]; ok && want != x.seen.messages.String() {
		return fmt.Errorf("messages\n%swant\n%s", x.seen.messages.String(), want)
	}
	return x.shutdown()
}

// writeFirst writes what is to be written before anything is read.
func (x *exchange) writeFirst() error {
	state := x.conn.ConnectionState()
	if n := x.ints["export-keying-material"]; n > 0 {
		var c []byte
		if x.bools["use-export-context"] {
			c = append([]byte{}, x.strings["export-context"]...)
		}
		b, err := x.conn.ExportKeyingMaterial(x.strings["export-label"], c, n)
		if err != nil {
			return err
		}
		if _, err := x.conn.Write(b); err != nil {
			return err
		}
	}
	if x.bools["send-alert"] {
		if err := x.conn.Handshake(); err != nil {
			return err
		}
		return errors.Join(x.conn.Abort(alertDecompressionFailure), errAborted)
	}
	if x.bools["export-traffic-secrets"] {
		if err := x.writeSecrets(); err != nil {
			return err
		}
	}
	if x.bools["tls-unique"] {
		if _, err := x.conn.Write(state.TLSUnique); err != nil {
			return err
		}
	}
	if !x.bools["shim-writes-first"] || x.wroteFirst {
		return nil
	}
	text, n := x.initialWrite()
	for range n {
		if _, err := io.WriteString(x.conn, text); err != nil {
			return err
		}
	}
	return nil
}

// writeSecrets writes the secrets of both directions, that of what is read first.
func (x *exchange) writeSecrets() error {
	read, write, err := trafficSecrets(x.seen.keyLog.String())
	if err != nil {
		return err
	}
	if !x.bools["server"] {
		read, write = write, read
	}
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(read)))
	_, err = x.conn.Write(slices.Concat(b, read, write))
	return err
}

// errAborted says that the shim has ended the connection as it was told to.
var errAborted = errors.New("connection is aborted")

// initialWrite is what the shim writes first, and how often.
func (x *exchange) initialWrite() (string, int) {
	text, ok := x.strings["shim-initial-write"]
	if !ok {
		text = "hello"
	}
	n, ok := x.ints["repeat-shim-initial-write"]
	if !ok {
		n = 1
	}
	return text, n
}

// echo sends back what comes, inverted, to the end.
func (x *exchange) echo() error {
	size := 512
	if n := x.ints["read-size"]; n > 0 {
		size = n
	}
	buf := make([]byte, size)
	for {
		n, err := x.conn.Read(buf)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			if err == io.EOF || !x.bools["check-close-notify"] {
				return nil
			}
		}
		if err != nil {
			return err
		}
		if x.bools["key-update"] {
			if err := x.conn.KeyUpdate(context.Background()); err != nil {
				return err
			}
		}
		for i := range buf[:n] {
			buf[i] ^= 0xff
		}
		if _, err := x.conn.Write(buf[:n]); err != nil {
			return err
		}
	}
}

// shutdown ends the connection.
func (x *exchange) shutdown() error {
	if !x.bools["check-close-notify"] {
		return nil
	}
	if err := x.conn.CloseWrite(); err != nil {
		return err
	}
	if !x.bools["shim-shuts-down"] {
		return nil
	}
	n, err := x.conn.Read(make([]byte, 1))
	if err != io.EOF || n > 0 {
		return fmt.Errorf("Unexpected SSL_shutdown result: %w after %d bytes", err, n)
	}
	return nil
}

// selected is the credential that was used.
func (x *exchange) selected() int {
	if index, ok := x.seen.psks[string(x.conn.Details().ExternalPSK)]; ok {
		return index
	}
	return x.seen.chosen
}

// check compares what was negotiated with what the runner expects.
func (x *exchange) check() error {
	state, details := x.conn.ConnectionState(), x.conn.Details()
	if want := x.resumes && !x.bools["expect-session-miss"]; state.DidResume != want {
		return fmt.Errorf("resumed %v, want %v", state.DidResume, want)
	}
	for _, c := range []struct {
		flag string
		got  int
	}{
		{"expect-version", int(state.Version)},
		{"expect-cipher", int(state.CipherSuite)},
		{"expect-cipher-aes", int(state.CipherSuite)},
		{"expect-curve-id", int(state.CurveID)},
		{"expect-peer-signature-algorithm", int(details.PeerSignatureScheme)},
		{"expect-selected-credential", x.selected()},
	} {
		if want, ok := x.ints[c.flag]; ok && want != c.got {
			return fmt.Errorf("%s: got %#x, want %#x", c.flag, c.got, want)
		}
	}
	if x.bools["expect-hrr"] && !state.HelloRetryRequest || x.bools["expect-no-hrr"] && state.HelloRetryRequest {
		return fmt.Errorf("HelloRetryRequest: %v", state.HelloRetryRequest)
	}
	if x.bools["expect-extended-master-secret"] && !details.ExtendedMasterSecret {
		return errors.New("no extended master secret")
	}
	if want := x.strings["expect-server-name"]; want != "" && want != x.seen.serverName {
		return fmt.Errorf("server name %q, want %q", x.seen.serverName, want)
	}
	return errors.Join(x.checkProtocol(&state), x.checkPeer(&state), x.checkIDs(&state), x.checkEarly())
}

func (x *exchange) checkProtocol(state *tls.ConnectionState) error {
	want := x.strings["expect-alpn"]
	if x.bools["server"] {
		want = x.strings["select-alpn"]
	}
	if state.NegotiatedProtocol != want {
		return fmt.Errorf("protocol %q, want %q", state.NegotiatedProtocol, want)
	}
	if v, ok := x.strings["expect-advertised-alpn"]; ok {
		protocols, err := splitProtocols(v)
		if err != nil || !slices.Equal(protocols, x.seen.protocols) {
			return fmt.Errorf("client offers the protocols %q, want %q (%v)", x.seen.protocols, protocols, err)
		}
	}
	return nil
}

func (x *exchange) checkPeer(state *tls.ConnectionState) error {
	if want := x.bytes["expect-ocsp-response"]; want != nil && !bytes.Equal(want, state.OCSPResponse) {
		return fmt.Errorf("OCSP response %x, want %x", state.OCSPResponse, want)
	}
	if want := x.bytes["expect-signed-cert-timestamps"]; want != nil && !bytes.Equal(want, joinSCTs(state.SignedCertificateTimestamps)) {
		return fmt.Errorf("SCTs %x, want %x", state.SignedCertificateTimestamps, want)
	}
	none := len(state.PeerCertificates) == 0
	details := x.conn.Details()
	if want, ok := x.ints["expect-ticket-age-skew"]; ok && x.resumes && details.TicketAgeSkew.Round(time.Second) != time.Duration(want)*time.Second {
		return fmt.Errorf("age of ticket differs by %v, want %d s", details.TicketAgeSkew, want)
	}
	psk := details.ExternalPSK != nil || x.bytes["expect-peer-rpk-sha256"] != nil
	if want, ok := x.ints["expect-peer-certificate-type"]; ok && want != int(details.PeerCertificateType) {
		return fmt.Errorf("peer shows %v, want %d", details.PeerCertificateType, want)
	}
	if want := x.lists["expect-peer-verify-pref"]; want != nil && !slices.EqualFunc(want, x.seen.schemes, func(w int, s tls.SignatureScheme) bool { return w == int(s) }) {
		return fmt.Errorf("peer verifies %v, want %v", x.seen.schemes, want)
	}
	if list, ok := x.strings["expect-client-ca-list"]; ok && list != "<EMPTY>" {
		want, err := hexList(list)
		if err != nil || !slices.EqualFunc(want, x.seen.cas, bytes.Equal) {
			return fmt.Errorf("server names %x, want %x (%v)", x.seen.cas, want, err)
		}
	}
	switch {
	case x.bools["expect-no-peer-cert"] || psk:
		if !none {
			return errors.New("there is a certificate of the peer")
		}
	case (!x.bools["server"] || x.bools["require-any-client-certificate"]) && none && details.PeerPublicKey == nil:
		return errors.New("there is no certificate of the peer")
	}
	if file := x.strings["expect-peer-cert-file"]; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for i := 0; ; i++ {
			block, rest := pem.Decode(text)
			if block == nil {
				if i != len(state.PeerCertificates) {
					return fmt.Errorf("a chain of %d, want %d", len(state.PeerCertificates), i)
				}
				return nil
			}
			if i >= len(state.PeerCertificates) || !bytes.Equal(state.PeerCertificates[i].Raw, block.Bytes) {
				return fmt.Errorf("certificate %d is not that of %s", i, file)
			}
			text = rest
		}
	}
	return nil
}

// checkIDs checks what is remembered of a TLS 1.2 handshake.
func (x *exchange) checkIDs(state *tls.ConnectionState) error {
	if x.bools["server"] {
		switch {
		case x.resumes:
		case x.bools["expect-session-id"] && !x.seen.put:
			return errors.New("session was not cached on the server")
		case x.bools["expect-no-session-id"] && x.seen.put:
			return errors.New("session was cached on the server")
		}
		return nil
	}
	if state.Version == tls.VersionTLS13 {
		return nil
	}
	want := !x.bools["expect-no-session"] && (!state.DidResume || x.bools["expect-ticket-renewal"])
	if got := x.seen.stored > 0; got != want {
		return fmt.Errorf("new session cached: %v, want %v", got, want)
	}
	return nil
}

func (x *exchange) checkEarly() error {
	accepted := x.conn.EarlyData().Accepted
	if x.bools["expect-accept-early-data"] && !accepted || x.bools["expect-reject-early-data"] && accepted {
		return fmt.Errorf("early data accepted: %v", accepted)
	}
	return nil
}

// checkSession checks what a TLS 1.3 client got after the handshake.
func (x *exchange) checkSession() error {
	if x.bools["server"] || x.conn.ConnectionState().Version != tls.VersionTLS13 {
		return nil
	}
	if got, want := x.seen.stored > 0, !x.bools["expect-no-session"]; got != want {
		return fmt.Errorf("new session cached: %v, want %v", got, want)
	}
	if got, want := x.seen.supports, x.bools["expect-ticket-supports-early-data"]; x.seen.stored > 0 && got != want {
		return fmt.Errorf("session allows early data: %v, want %v", got, want)
	}
	return nil
}
