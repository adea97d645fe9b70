package bench

// All returns every case.
func All() []Case {
	var cases []Case
	for _, group := range [][]Case{Handshakes, Bulk, Loopback, Files, Idle, Scale} {
		cases = append(cases, group...)
	}
	return cases
}
