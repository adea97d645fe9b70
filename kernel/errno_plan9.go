package kernel

import "errors"

// Plan 9 has no error numbers, and no kernel TLS that could return one.
var (
	ErrKeyExpired error = errors.New("key has expired")

	errBadMessage  = errors.New("bad message")
	errMessageSize = errors.New("message too long")
	errInvalid     = errors.New("invalid argument")
	errBusy        = errors.New("resource busy")
	errAlready     = errors.New("operation already in progress")
	errNotConn     = errors.New("not connected")
)

func refuse(_ Rules, op string, err error) *Refusal {
	return &Refusal{Op: op, Reason: err.Error(), Err: err}
}
