package kernel

// System returns the socket's System, for tests of what Socket hides.
func (s *Socket) System() System { return s.sys }
