//go:build !unix

package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-handoff/tls"
)

// runMovable is Run with --handover.
func (c *serveCmd) runMovable(context.Context, *process, *tls.Config, http.Handler) error {
	return errors.New("--handover needs Unix sockets that descriptors pass through, which this system does not have")
}
