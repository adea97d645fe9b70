package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestExplainHandshakeTimeout(t *testing.T) {
	ctx, cancel := context.WithDeadlineCause(t.Context(), time.Unix(1, 0), errHandshakeTimeout)
	defer cancel()
	if err := explainHandshake(ctx, ctx.Err()); !errors.Is(err, errHandshakeTimeout) {
		t.Error(err)
	}
}
