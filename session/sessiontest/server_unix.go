//go:build unix

package sessiontest

import "syscall"

// Pause stops the server (SIGSTOP): it keeps its connections, and the system
// accepts new ones for it, but it does nothing.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Continue ends a Pause (SIGCONT).
func (s *Server) Continue() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatalf("%s does not run", s.command.Name)
	}
	if err := s.process.Signal(sig); err != nil {
		s.t.Fatalf("%s: %v: %v", s.command.Name, sig, err)
	}
}
