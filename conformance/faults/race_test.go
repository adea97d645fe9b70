//go:build race

package faults

// defaultStride makes the race detector's run about as long as the other.
const defaultStride = 29
