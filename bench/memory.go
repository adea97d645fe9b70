package bench

import (
	"errors"
	"net"
)

// memory is one end of a connection in memory that never waits: a Read finds
// what the other end has written before, or nothing.
type memory struct {
	lockstepEnd // for the addresses and deadlines
	other       *memory
	in          []byte
	r           int    // how much of in was read
	sink        bool   // what is written is gone
	calls       [2]int // of Read and Write
}

var errNothing = errors.New("bench: there is nothing to read")

// established returns connections in memory whose handshake is complete, and the
// two ends of what is between them.
func established(ends [2]maker) (conns [2]conn, wire [2]*memory, err error) {
	wire = [2]*memory{new(memory), new(memory)}
	wire[0].other, wire[1].other = wire[1], wire[0]
	var inner [2]switchable
	err = newLockstep(nil).run([2]func(net.Conn) error{
		func(nc net.Conn) error {
			inner[client].Conn = nc
			conns[client] = ends[client](&inner[client])
			_, err := conns[client].Read(make([]byte, 1))
			return err
		},
		func(nc net.Conn) error {
			inner[server].Conn = nc
			conns[server] = ends[server](&inner[server])
			_, err := conns[server].Write([]byte{1})
			return err
		},
	})
	inner[client].Conn, inner[server].Conn = wire[client], wire[server]
	return conns, wire, err
}

// switchable is a connection that goes on over another one.
type switchable struct{ net.Conn }

func (m *memory) Read(b []byte) (int, error) {
	if m.r == len(m.in) {
		return 0, errNothing
	}
	m.calls[0]++
	n := copy(b, m.in[m.r:])
	if m.r += n; m.r == len(m.in) {
		m.in, m.r = m.in[:0], 0
	}
	return n, nil
}

func (m *memory) Write(b []byte) (int, error) {
	m.calls[1]++
	if !m.sink {
		m.other.in = append(m.other.in, b...)
	}
	return len(b), nil
}

func (*memory) Close() error { return nil }
