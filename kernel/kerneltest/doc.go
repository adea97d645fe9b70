// Package kerneltest has models of the two kernels that have TLS, for tests on
// any machine.
package kerneltest
