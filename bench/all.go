package bench

import "slices"

// All returns every case.
func All() []Case {
	var cases []Case
	for _, group := range [][]Case{Handshakes, Bulk, Loopback, Files, Idle, Scale} {
		cases = append(cases, group...)
	}
	return cases
}

// short are the cases that say most.
var short = []string{
	"HS13Full/x25519-p256", "HS13Full/mlkem768-p256", "HS13Mutual/x25519-p256", "HS13Resume/x25519", "HS12Full/x25519-p256", "HS12Resume",
	"BulkWrite100B/13-aes128", "BulkWrite16K/13-aes128", "BulkRead16K/13-aes128", "BulkWrite64K/13-aes128", "FirstBytes64K/13-aes128", "RR1K/answers",
	"FileServe/http1", "IdleHeap13/fresh", "IdleHeap13/after16K",
}

// Short returns the cases that say most, for those who have half a minute.
func Short() []Case {
	return slices.DeleteFunc(All(), func(c Case) bool { return !slices.Contains(short, c.Name) })
}
