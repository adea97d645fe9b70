package handshake

import (
	"github.com/go-handoff/tls/internal/alert"
)

// waitState is a state of the machines of RFC 9846, appendix A, and of their
// TLS 1.2 counterparts (RFC 5246, section 7.3).
type waitState uint8

// The states. A state without a version in its name belongs to TLS 1.3 or
// comes before the version is known.
const (
	stateStart waitState = iota

	clientWaitSH
	clientWaitEE
	clientWaitCertCR
	clientWaitCert
	clientWaitCV
	clientWaitFinished
	clientConnected

	client12WaitCert
	client12WaitStatusSKE
	client12WaitSKE
	client12WaitCRSHD
	client12WaitSHD
	client12WaitNST
	client12WaitCCS
	client12WaitFinished
	client12Connected

	serverWaitCH
	serverWaitCH2
	serverWaitEOED
	serverWaitCert
	serverWaitCV
	serverWaitFinished
	serverConnected

	server12WaitCert
	server12WaitCKE
	server12WaitCV
	server12WaitCCS
	server12WaitFinished
	server12Connected

	numStates
)

var stateNames = [numStates]string{
	"START",
	"WAIT_SH", "WAIT_EE", "WAIT_CERT_CR", "WAIT_CERT", "WAIT_CV", "WAIT_FINISHED", "CONNECTED",
	"WAIT_CERT/1.2", "WAIT_STATUS_SKE/1.2", "WAIT_SKE/1.2", "WAIT_CR_SHD/1.2", "WAIT_SHD/1.2", "WAIT_NST/1.2", "WAIT_CCS/1.2", "WAIT_FINISHED/1.2", "CONNECTED/1.2",
	"WAIT_CH", "WAIT_CH2", "WAIT_EOED", "WAIT_CERT", "WAIT_CV", "WAIT_FINISHED", "CONNECTED",
	"WAIT_CERT/1.2", "WAIT_CKE/1.2", "WAIT_CV/1.2", "WAIT_CCS/1.2", "WAIT_FINISHED/1.2", "CONNECTED/1.2",
}

func (s waitState) String() string { return stateNames[s] }

// changeCipherSpec stands in the tables for the ChangeCipherSpec record, which
// takes part in the order of messages in TLS 1.2 but is no handshake message.
const changeCipherSpec handshakeType = 255

// handler processes one message and returns the next state.
type handler func(*Engine, message) (waitState, error)

// row is one legal transition: message typ is accepted in state from, and
// leads to one of the states in to.
type row struct {
	from   waitState
	typ    handshakeType
	handle handler
	to     []waitState
}

type table []row

// The legal order of messages. What has no row is unexpected_message. Each
// machine starts in the table of the highest version; negotiation moves it to
// the other.
//
//	client, TLS 1.3                      client, TLS 1.2
//
//	WAIT_SH <-+ HelloRetryRequest        WAIT_SH
//	   |   |__|                             | ServerHello      \ resumed
//	   | ServerHello                     WAIT_CERT              \
//	WAIT_EE                                 | Certificate        \
//	   | EncryptedExtensions \ PSK       WAIT_STATUS_SKE          \
//	WAIT_CERT_CR              \             | [CertificateStatus]  \
//	   | [CertificateRequest]  \         WAIT_SKE                   \
//	WAIT_CERT                   \           | ServerKeyExchange      \
//	   | Certificate             \       WAIT_CR_SHD                  |
//	WAIT_CV                       \         | [CertificateRequest]    |
//	   | CertificateVerify        |      WAIT_SHD                     |
//	WAIT_FINISHED <---------------+         | ServerHelloDone         |
//	   | Finished                        WAIT_NST <-------------------+
//	CONNECTED <-+ NewSessionTicket,         | [NewSessionTicket]
//	   |________| KeyUpdate              WAIT_CCS -> WAIT_FINISHED -> CONNECTED
//
//	server, TLS 1.3                      server, TLS 1.2
//
//	WAIT_CH -> WAIT_CH2 (after HRR)      WAIT_CH
//	   | ClientHello                        | ClientHello         \ resumed
//	WAIT_EOED (early data accepted)      WAIT_CERT                 \
//	   | EndOfEarlyData                     | Certificate          |
//	WAIT_CERT                            WAIT_CKE                  |
//	   | Certificate  \ none                | ClientKeyExchange    |
//	WAIT_CV            \                 WAIT_CV                   |
//	   | CertificateVerify                  | CertificateVerify    |
//	WAIT_FINISHED                        WAIT_CCS <----------------+
//	   | Finished                           | ChangeCipherSpec
//	CONNECTED (KeyUpdate)                WAIT_FINISHED -> CONNECTED
var (
	client13 = table{
		{clientWaitSH, typeServerHello, onClient(parseServerHello, (*clientHandshake).onServerHello), []waitState{clientWaitSH, clientWaitEE, client12WaitCert, client12WaitNST, client12WaitCCS}},
		{clientWaitEE, typeEncryptedExtensions, onClient(parseEncryptedExtensions, (*clientHandshake).onEncryptedExtensions), []waitState{clientWaitCertCR, clientWaitFinished}},
		{clientWaitCertCR, typeCertificateRequest, onClient(parseCertificateRequest13, (*clientHandshake).onCertificateRequest13), []waitState{clientWaitCert}},
		{clientWaitCertCR, typeCertificate, onClient(parseCertificate13, (*clientHandshake).onCertificate13), []waitState{clientWaitCV}},
		{clientWaitCertCR, typeCompressedCertificate, onClient(parseCompressedCertificate, (*clientHandshake).onCompressedCertificate), []waitState{clientWaitCV}},
		{clientWaitCert, typeCertificate, onClient(parseCertificate13, (*clientHandshake).onCertificate13), []waitState{clientWaitCV}},
		{clientWaitCert, typeCompressedCertificate, onClient(parseCompressedCertificate, (*clientHandshake).onCompressedCertificate), []waitState{clientWaitCV}},
		{clientWaitCV, typeCertificateVerify, onClient(parseCertificateVerify, (*clientHandshake).onCertificateVerify13), []waitState{clientWaitFinished}},
		{clientWaitFinished, typeFinished, onClient(parseFinished, (*clientHandshake).onFinished13), []waitState{clientConnected}},
		{clientConnected, typeNewSessionTicket, onPost(parseNewSessionTicket13, (*Engine).onNewSessionTicket13), []waitState{clientConnected}},
		{clientConnected, typeKeyUpdate, onPost(parseKeyUpdate, (*Engine).onKeyUpdate), []waitState{clientConnected}},
	}

	client12 = table{
		{client12WaitCert, typeCertificate, onClientCertificate12, []waitState{client12WaitStatusSKE, client12WaitSKE}},
		{client12WaitStatusSKE, typeCertificateStatus, onClient(parseCertificateStatus, (*clientHandshake).onCertificateStatus), []waitState{client12WaitSKE}},
		{client12WaitStatusSKE, typeServerKeyExchange, onClient(parseServerKeyExchange, (*clientHandshake).onServerKeyExchange), []waitState{client12WaitCRSHD}},
		{client12WaitSKE, typeServerKeyExchange, onClient(parseServerKeyExchange, (*clientHandshake).onServerKeyExchange), []waitState{client12WaitCRSHD}},
		{client12WaitCRSHD, typeCertificateRequest, onClient(parseCertificateRequest12, (*clientHandshake).onCertificateRequest12), []waitState{client12WaitSHD}},
		{client12WaitCRSHD, typeServerHelloDone, onClient(parseServerHelloDone, (*clientHandshake).onServerHelloDone), []waitState{client12WaitNST, client12WaitCCS}},
		{client12WaitSHD, typeServerHelloDone, onClient(parseServerHelloDone, (*clientHandshake).onServerHelloDone), []waitState{client12WaitNST, client12WaitCCS}},
		{client12WaitNST, typeNewSessionTicket, onClient(parseNewSessionTicket12, (*clientHandshake).onNewSessionTicket12), []waitState{client12WaitCCS}},
		{client12WaitCCS, changeCipherSpec, (*Engine).onClientCCS, []waitState{client12WaitFinished}},
		{client12WaitFinished, typeFinished, onClient(parseFinished, (*clientHandshake).onFinished12), []waitState{client12Connected}},
		{client12Connected, typeHelloRequest, onPost(parseHelloRequest, (*Engine).onHelloRequest), []waitState{client12Connected}},
	}

	server13 = table{
		{serverWaitCH, typeClientHello, onServer(parseClientHello, (*serverHandshake).onClientHello), []waitState{serverWaitCH2, serverWaitEOED, serverWaitCert, serverWaitFinished, server12WaitCert, server12WaitCKE, server12WaitCCS}},
		{serverWaitCH2, typeClientHello, onServer(parseClientHello, (*serverHandshake).onSecondClientHello), []waitState{serverWaitCert, serverWaitFinished}},
		{serverWaitEOED, typeEndOfEarlyData, onServer(parseEndOfEarlyData, (*serverHandshake).onEndOfEarlyData), []waitState{serverWaitFinished}},
		{serverWaitCert, typeCertificate, onServer(parseCertificate13, (*serverHandshake).onCertificate13), []waitState{serverWaitCV, serverWaitFinished}},
		{serverWaitCert, typeCompressedCertificate, onServer(parseCompressedCertificate, (*serverHandshake).onCompressedCertificate), []waitState{serverWaitCV, serverWaitFinished}},
		{serverWaitCV, typeCertificateVerify, onServer(parseCertificateVerify, (*serverHandshake).onCertificateVerify13), []waitState{serverWaitFinished}},
		{serverWaitFinished, typeFinished, onServer(parseFinished, (*serverHandshake).onFinished13), []waitState{serverConnected}},
		{serverConnected, typeKeyUpdate, onPost(parseKeyUpdate, (*Engine).onKeyUpdate), []waitState{serverConnected}},
	}

	server12 = table{
		{server12WaitCert, typeCertificate, onServerCertificate12, []waitState{server12WaitCKE}},
		{server12WaitCKE, typeClientKeyExchange, onServer(parseClientKeyExchange, (*serverHandshake).onClientKeyExchange), []waitState{server12WaitCV, server12WaitCCS}},
		{server12WaitCV, typeCertificateVerify, onServer(parseCertificateVerify, (*serverHandshake).onCertificateVerify12), []waitState{server12WaitCCS}},
		{server12WaitCCS, changeCipherSpec, (*Engine).onServerCCS, []waitState{server12WaitFinished}},
		{server12WaitFinished, typeFinished, onServer(parseFinished, (*serverHandshake).onFinished12), []waitState{server12Connected}},
		{server12Connected, typeClientHello, onPost(parseClientHello, (*Engine).onRenegotiation), []waitState{server12Connected}},
	}
)

// machines lists the tables by name.
var machines = []struct {
	name string
	rows table
}{
	{"client, TLS 1.3", client13},
	{"client, TLS 1.2", client12},
	{"server, TLS 1.3", server13},
	{"server, TLS 1.2", server12},
}

// transition finds the row for a message, whichever table it stands in: a
// state belongs to one table only.
func transition(s waitState, typ handshakeType) *row {
	for _, m := range machines {
		for i := range m.rows {
			if r := &m.rows[i]; r.from == s && r.typ == typ {
				return r
			}
		}
	}
	return nil
}

// dispatch runs the handler that the tables have for m.
func (e *Engine) dispatch(m message) error {
	r := transition(e.state, m.typ)
	if r == nil {
		return e.unexpected(m.typ)
	}
	next, err := r.handle(e, m)
	if err != nil {
		return err
	}
	if !contains(r.to, next) {
		return alert.Errorf(alert.InternalError, "no transition from %v by %v to %v", e.state, m.typ, next)
	}
	e.state = next
	return nil
}

func (e *Engine) unexpected(typ handshakeType) error {
	return alert.Errorf(alert.UnexpectedMessage, "%v in state %v", typ, e.state)
}

// onClient makes a handler of a parser and a client's method.
func onClient[M any](parse func([]byte) (*M, error), f func(*clientHandshake, *M, message) (waitState, error)) handler {
	return func(e *Engine, m message) (waitState, error) {
		v, err := parse(m.body)
		if err != nil {
			return e.state, err
		}
		return f(e.client, v, m)
	}
}

// onServer makes a handler of a parser and a server's method.
func onServer[M any](parse func([]byte) (*M, error), f func(*serverHandshake, *M, message) (waitState, error)) handler {
	return func(e *Engine, m message) (waitState, error) {
		v, err := parse(m.body)
		if err != nil {
			return e.state, err
		}
		return f(e.server, v, m)
	}
}

// The Certificate of TLS 1.2 has two forms, of which one was agreed on.

func onClientCertificate12(e *Engine, m message) (waitState, error) {
	return onClient(certificateParser12(e.peerType), (*clientHandshake).onCertificate12)(e, m)
}

func onServerCertificate12(e *Engine, m message) (waitState, error) {
	return onServer(certificateParser12(e.peerType), (*serverHandshake).onCertificate12)(e, m)
}

func certificateParser12(t CertificateType) func([]byte) (*certificate12, error) {
	if t == RawPublicKey {
		return parseRawKey12
	}
	return parseCertificate12
}

// onPost makes a handler of a parser and a method for after the handshake,
// where the state stays as it is.
func onPost[M any](parse func([]byte) (*M, error), f func(*Engine, *M) error) handler {
	return func(e *Engine, m message) (waitState, error) {
		v, err := parse(m.body)
		if err != nil {
			return e.state, err
		}
		if err := e.countPostHandshake(); err != nil {
			return e.state, err
		}
		return e.state, f(e, v)
	}
}
