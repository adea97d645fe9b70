// Package fuzz holds the fuzz targets of this module. It has no code of its
// own; run them with
//
//	go test -fuzz FuzzRecordOpen ./fuzz
//
// or all of them in turn with "make fuzz". Without -fuzz their seeds are
// ordinary tests.
package fuzz
