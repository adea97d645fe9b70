// Package bench measures this stack beside crypto/tls.
//
// Machines that are shared, throttled or virtual give other figures from one
// minute to the next. So each case is played by both stacks in turn, in one
// process (A B A B), and what counts is the ratio of the medians. Time is CPU
// time of the process, collecting garbage included; allocations, bytes, writes
// and reads are counted exactly, for each side apart where a case has two.
//
// A [Case] says what is played, [Run] plays it, and a [Result] holds every
// sample: as lines that benchstat reads, and as ratios. Packages
// bench/openssl and bench/rustls add other stacks to the cases that those can play.
package bench
