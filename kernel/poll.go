//go:build linux || freebsd

package kernel

import (
	"errors"
	"net"
)

// pollError returns what the poller said, without what the net package tells
// beside it.
func pollError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
