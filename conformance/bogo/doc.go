// Package bogo lets BoringSSL's test runner, which plays thousands of peers that
// misbehave, judge this module. There is nothing in it but tests: a shim that
// the runner drives by its flags, and a test that starts the runner.
//
// The runner is no part of this repository. Build it in a checkout of BoringSSL,
//
//	cd ssl/test/runner && go test -c -o runner .
//
// and say where it is:
//
//	HANDOFF_BOGO_RUNNER=/path/to/ssl/test/runner/runner make bogo
//
// RESULTS.md names the commit that its table is of. To make it anew,
//
//	HANDOFF_BOGO_RUNNER=... HANDOFF_BOGO_COMMIT=$(git -C /path/to/boringssl rev-parse HEAD) go test ./conformance/bogo -update
package bogo
