package tls

import (
	"errors"
	"net"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
)

var (
	// ErrKeysExported is what a Conn answers after [Conn.ExportKeys].
	ErrKeysExported = errors.New("tls: the keys of this connection were exported")
	// ErrReadInProgress means that [Conn.ExportKeys] or [Conn.Detach] found a Read
	// at work.
	ErrReadInProgress = errors.New("tls: a Read is in progress")
	// ErrUserSpace is the answer of [Conn.SyscallConn] while records are made in
	// user space: what is written past them would be cleartext.
	ErrUserSpace = errors.New("tls: raw access to the socket while its records are protected in user space")
	// ErrRecordLimit means that the key of a TLS 1.2 connection is used up
	// (RFC 9846, section 5.5): TLS 1.2 cannot change it, so the connection ends.
	ErrRecordLimit = record.ErrLimit

	// ErrNoRekey means that the kernel has a direction and cannot change its
	// keys: Linux before 6.14, and FreeBSD. Such a connection ends, with
	// close_notify, before its key is used up or when the peer asks for a new
	// one, and [Conn.KeyUpdate] refuses.
	ErrNoRekey = kernel.ErrNoRekey
	// ErrInKernel is the answer of [Conn.ExportKeys] when the kernel has keys of
	// the connection: it gives none back.
	ErrInKernel = errors.New("tls: the kernel has keys of this connection")

	// ErrNoEarlyData is the answer of [Conn.WriteEarlyData] on a client that has no
	// session which allows early data. Nothing was sent: the connection can be
	// used as any other.
	ErrNoEarlyData = errors.New("tls: no session allows early data")
	// ErrEarlyDataLimit means that a client's early data has reached the limit of
	// its session: what is left goes after the handshake.
	ErrEarlyDataLimit = errors.New("tls: the limit of early data is reached")
	// ErrEarlyDataOver means that it is too late for a client's early data: the
	// handshake has gone on, or began without any.
	ErrEarlyDataOver = errors.New("tls: too late for early data")
	// ErrEarlyDataVersion means that early data was sent, and the server chose TLS
	// 1.2, which cannot skip it. The connection has failed; another one can be
	// tried without early data, but with TLS 1.3 still (RFC 9846, appendix E.3).
	ErrEarlyDataVersion = handshake.ErrEarlyDataVersion

	errShutdown        = errors.New("tls: protocol is shutdown")
	errEarlyCloseWrite = errors.New("tls: CloseWrite called before handshake complete")
	errNoSecrets       = errors.New("tls: no secrets: the handshake is not complete, or has failed, or the connection is closed")
	errBrokenOff       = errors.New("tls: a callback has broken the handshake off")
	errNotComplete     = errors.New("tls: handshake has not yet been performed")
)

// ConfigError says that a [Config] asks for something that is impossible, or
// that does not exist here. It is found before anything is sent.
type ConfigError struct {
	Field  string // of Config
	Reason string
}

func (e *ConfigError) Error() string { return "tls: Config." + e.Field + ": " + e.Reason }

// localError ends a connection on our side. An alert of the peer is a
// *net.OpError instead. Its text is the cause's; errors.As
// finds in it what the cause holds, and the [AlertError] that the peer is sent.
type localError struct {
	cause error
	alert alert.Description
}

func (e *localError) Error() string { return e.cause.Error() }

func (e *localError) Unwrap() []error { return []error{e.cause, AlertError(e.alert)} }

// callbackError marks errors of the caller's own callbacks on their way through
// the engine, which wraps them, so that the caller gets back what it returned.
// One that is an AlertError chooses the alert that the peer is sent.
type callbackError struct{ error }

func (e *callbackError) Unwrap() error { return e.error }

func fromCallback(err error) error {
	if err == nil {
		return nil
	}
	if chosen, ok := err.(AlertError); ok { //nolint:errorlint // what it wraps may be another connection's
		return alert.Wrap(alert.Description(chosen), &callbackError{err})
	}
	return &callbackError{err}
}

// newLocalError returns what the application gets for err, which carries the
// alert to send.
func newLocalError(err error) *localError {
	local := &localError{cause: err, alert: alert.Of(err)}
	if cb := (*callbackError)(nil); errors.As(err, &cb) {
		local.cause = cb.error
	}
	return local
}

// remoteError is what the application gets for an alert received (RFC 9846,
// section 6).
func remoteError(d alert.Description) error {
	return &net.OpError{Op: "remote error", Err: AlertError(d)}
}

// permanentError keeps a network error's kind but says that trying again is of
// no use: part of a record may have been sent.
type permanentError struct{ err net.Error }

func (e *permanentError) Error() string   { return e.err.Error() }
func (e *permanentError) Unwrap() error   { return e.err }
func (e *permanentError) Timeout() bool   { return e.err.Timeout() }
func (e *permanentError) Temporary() bool { return false }

// permanent returns err as it is returned from now on.
func permanent(err error) error {
	if e := net.Error(nil); errors.As(err, &e) {
		return &permanentError{e}
	}
	return err
}
