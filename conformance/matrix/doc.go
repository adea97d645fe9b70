// Package matrix holds the interoperation tests: connections between this stack
// and other people's programs, in both roles and both versions, one for each
// thing that a connection can have. It has no code of its own.
//
// The programs are OpenSSL, GnuTLS, curl, nginx, HAProxy and Python of two
// releases of Debian, which package peers fetches, the Node that is installed,
// and the crypto/tls of the installed Go. What the programs say of a connection
// is compared with what this side saw, and so is every byte.
//
// interop/RESULTS.md and interop/RESULTS.html, which make interop writes, are what
// became of each combination, in user space and in a kernel of the lab. Without
// the flag -all, the tests play one cell of three.
package matrix
