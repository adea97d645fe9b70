// Package redact keeps secrets out of logs: a type that embeds [Value] answers
// every fmt verb, encoding/json, encoding.TextMarshaler and log/slog with one
// fixed word.
package redact

import (
	"fmt"
	"io"
	"log/slog"
)

const text = "redacted"

// Value is embedded in types that hold secrets.
type Value struct{}

// Format implements [fmt.Formatter], which every fmt verb asks first.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, text) }

// String implements [fmt.Stringer].
func (Value) String() string { return text }

// GoString implements [fmt.GoStringer].
func (Value) GoString() string { return text }

// MarshalJSON implements json.Marshaler.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + text + `"`), nil }

// MarshalText implements [encoding.TextMarshaler].
func (Value) MarshalText() ([]byte, error) { return []byte(text), nil }

// LogValue implements [slog.LogValuer].
func (Value) LogValue() slog.Value { return slog.StringValue(text) }
