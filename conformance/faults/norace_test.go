//go:build !race

package faults

const defaultStride = 1
