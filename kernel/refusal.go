package kernel

// refuse returns err, of a system call that op is, as a Refusal.
func refuse(_ Rules, op string, err error) *Refusal {
	return &Refusal{Op: op, Reason: err.Error(), Err: err}
}
