package tls

import (
	"context"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// This file is the only one that reaches into unexported fields of crypto/tls.
// The aliased structs have some that its own methods need: ConnectionState's
// ExportKeyingMaterial panics without ekm, ClientHelloInfo.Context returns nil
// without ctx. Each field's name and exact type is looked up once; where one
// is not as expected, in another Go version, it stays unset, and nothing else
// is lost.
var (
	stateExporter   = stdField[tls.ConnectionState, exporter]("ekm")
	helloContext    = stdField[tls.ClientHelloInfo, context.Context]("ctx")
	helloConfig     = stdField[tls.ClientHelloInfo, *tls.Config]("config")
	requestContext  = stdField[tls.CertificateRequestInfo, context.Context]("ctx")
	configTicketLen = stdFieldIndex[tls.Config]("sessionTicketKeys", reflect.Slice)
)

type exporter = func(label string, context []byte, length int) ([]byte, error)

// field is an unexported field of struct S that has type T.
type field[S, T any] struct {
	offset uintptr
	known  bool
}

// stdField finds the field by its name, if its type is exactly T.
func stdField[S, T any](name string) field[S, T] {
	f, ok := reflect.TypeFor[S]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[T]() || len(f.Index) != 1 {
		return field[S, T]{}
	}
	return field[S, T]{offset: f.Offset, known: true}
}

// set writes the field, if it is known.
func (f field[S, T]) set(s *S, v T) {
	if f.known {
		*(*T)(unsafe.Add(unsafe.Pointer(s), f.offset)) = v
	}
}

// stdFieldIndex finds a field whose value is only looked at, by reflection. It
// returns -1 for none of that kind.
func stdFieldIndex[S any](name string, kind reflect.Kind) int {
	f, ok := reflect.TypeFor[S]().FieldByName(name)
	if !ok || f.Type.Kind() != kind || len(f.Index) != 1 {
		return -1
	}
	return f.Index[0]
}

// hasTicketKeys reports whether SetSessionTicketKeys was called on c, as far as
// that can be seen.
func hasTicketKeys(c *tls.Config) bool {
	return configTicketLen >= 0 && reflect.ValueOf(c).Elem().Field(configTicketLen).Len() > 0
}
