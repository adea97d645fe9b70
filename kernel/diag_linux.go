package kernel

// Device implements [System].
func (s *linuxSocket) Device() (tx, rx bool) { return false, false }

func deviceOffload() Support { return Support{} }
