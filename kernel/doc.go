// Package kernel gives the keys of a TLS connection to the kernel, which from
// then on protects what is written to the socket and unprotects what is read
// from it: kernel TLS, on Linux and FreeBSD.
//
// It is the sibling of package record, and takes the same
// [keyschedule.TrafficKeys]. The two directions of a connection are handed over
// separately, each once and for good: no kernel gives a direction back.
//
//	Open           a [Socket] of a TCP connection, or a [Refusal] that says why not
//	InstallTX, RX  keys go to the kernel; a Refusal leaves all as it was
//	RekeyTX, RX    new keys after a KeyUpdate, where the kernel can ([ErrNoRekey])
//	Receive        what the peer sent, with its type: the only way to read
//	SendControl    one record that is not application data
//	Drain          waits until the last record cannot be lost by closing
//
// Application data is written with the Write and ReadFrom of the net.TCPConn
// itself. Whoever installs or changes keys of a direction must see to it that
// nobody else uses that direction of the connection meanwhile.
//
// What the running kernel can do is found out by [Probe], which does it. The
// rules of the two kernels differ, and [Socket] hides the differences; tests of
// what stands on it can have both kernels' rules on any machine, with package
// kerneltest.
package kernel
