package kernel

import (
	"bytes"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

func probe() (*Report, error) {
	p, err := newProber(systemName(), func(tcp *net.TCPConn) (System, error) { return newLinuxSocket(tcp) })
	if err != nil {
		return p.report, err
	}
	defer p.close()
	if err := p.ulp(); err != nil || p.report.Reason != "" {
		return p.report, err
	}
	for _, step := range []func() error{p.suites, p.rekey, p.noPad, p.spliceRX, p.maxPayload} {
		if err := step(); err != nil {
			return p.report, err
		}
	}
	p.report.DeviceOffload = deviceOffload()
	return p.report, nil
}

// systemName returns the kernel's name, release and machine.
func systemName() string {
	var u unix.Utsname
	release := "of unknown release"
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	return "linux " + release + " " + runtime.GOARCH
}

// ulp finds out whether there is kernel TLS at all, before the kernel is asked
// for each cipher and tries to load the module each time.
func (p *prober) ulp() error {
	c, err := p.pair()
	if err != nil {
		return err
	}
	defer c.close()
	s := c.a.(*linuxSocket)
	if err := s.control(s.setULP); err != nil {
		p.report.Reason = refuse(RulesLinux, "probe", os.NewSyscallError(nameULP, err)).Reason
	}
	return nil
}

// noPad finds out whether TLS_RX_EXPECT_NO_PAD is safe. With it the kernel
// decrypts into the caller's buffer, and does so again if the record turns out
// to be padded or not application data; some kernels then write behind what
// they return, so that the peer chooses what is overwritten.
func (p *prober) noPad() (err error) {
	p.report.NoPad, err = p.for13(func(c *pair) Support {
		if err := setNoPad(c.b.(*linuxSocket)); err != nil {
			return Support{Reason: "the kernel has no option TLS_RX_EXPECT_NO_PAD: " + err.Error()}
		}
		if _, err := c.a.SendControl(typeAlert, []byte(probeContent)); err != nil {
			return Support{Reason: "sending: " + err.Error()}
		}
		buf := bytes.Repeat([]byte{0xaa}, 64)
		r, err := c.b.Receive(buf)
		switch {
		case err != nil:
			return Support{Reason: "receiving: " + err.Error()}
		case string(buf[:r.N]) != probeContent || len(bytes.Trim(buf[r.N:], "\xaa")) > 0:
			return Support{Reason: "the kernel overwrites what is behind a record that is not application data"}
		}
		return Support{OK: true}
	})
	return err
}

func setNoPad(s *linuxSocket) error {
	return s.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_TLS, optExpectNoPad, 1) })
}

// spliceRX finds out whether a splice of less than a record keeps the rest.
func (p *prober) spliceRX() (err error) {
	p.report.SpliceRX, err = p.for13(func(c *pair) Support {
		content := bytes.Repeat([]byte("0123456789abcde\n"), MaxControl/16)
		// The second pipe has room for the record's length, but for fewer pages
		// than a record touches that does not begin with one.
		for _, size := range []int{os.Getpagesize(), MaxControl} {
			got, err := c.spliceShort(size, content)
			switch {
			case err != nil:
				return Support{Reason: "splicing: " + err.Error()}
			case !bytes.Equal(got, content):
				return Support{Reason: "the kernel loses bytes when less than a record is spliced"}
			}
		}
		return Support{OK: true}
	})
	return err
}

// spliceShort sends a record, and receives it through a pipe for size bytes, and
// what did not fit that without.
func (c *pair) spliceShort(size int, content []byte) ([]byte, error) {
	p, err := newPipe(size)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if _, err := c.a.SendControl(typeData, content); err != nil {
		return nil, err
	}
	if _, err := c.b.(*linuxSocket).spliceTo(p, len(content)); err != nil {
		return nil, err
	}
	buf := make([]byte, 2*len(content))
	n, err := unix.Read(p.r, buf)
	if err != nil || n == len(content) {
		return buf[:n], err
	}
	// The rest is there or lost: nobody needs to wait.
	_ = c.connB.SetReadDeadline(time.Now().Add(probeTimeout / 10))
	r, err := c.b.Receive(buf[n:])
	_ = c.connB.SetReadDeadline(time.Now().Add(probeTimeout))
	return buf[:n+r.N], err
}

// maxPayload finds out whether the length of records can be limited, as the
// extension record_size_limit needs (RFC 8449).
func (p *prober) maxPayload() (err error) {
	p.report.MaxPayload, err = p.for13(func(c *pair) Support {
		var limit [2]byte
		err := c.a.(*linuxSocket).control(func(fd int) error {
			return getTLS(fd, optTXMaxPayload, limit[:])
		})
		if err != nil {
			return Support{Reason: "the kernel has no option TLS_TX_MAX_PAYLOAD_LEN: " + err.Error()}
		}
		return Support{OK: true}
	})
	return err
}
