package main

import (
	"context"
	"errors"
	"testing"
)

func TestExplainHandshakeTimeout(t *testing.T) {
	if err := explainHandshake(context.DeadlineExceeded); !errors.Is(err, errHandshakeTimeout) {
		t.Error(err)
	}
}
