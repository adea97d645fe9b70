// Package requirements holds a row for every sentence that demands something, by MUST, MUST NOT, REQUIRED, SHALL or SHALL NOT, in RFC 9846
// (TLS 1.3), and in RFC 5246 (TLS 1.2), RFC 7627 (extended master secret) and RFC 8449 (record size limit).
//
// A row says what a sentence demands, in our words, which declaration does that, and which test fails without it; or why nothing needs to. The mark
// in its second column is the beginning of the SHA-256 of the sentence. Where HANDOFF_RFC_TEXTS names a directory with the texts of the RFCs, the test finds
// the sentences in them by itself, so that none can be left out. Every declaration and test is looked up in the source.
//
// The rows are in testdata, one file for each RFC; REQUIREMENTS.md is made of them by
//
//	go test ./conformance/requirements -update
package requirements
