package main

import (
	"fmt"
	"os"
	"regexp"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("a pseudo terminal is needed: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// On a terminal the line is there without being asked for, and it is drawn over
// itself.
func TestServeTerminal(t *testing.T) {
	master, slave := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	dir, _ := directory(t)
	cmd := command(t, "serve", dir, "--addr", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &background{cmd: cmd}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		b.wait()
	})
	go func() {
		buf := make([]byte, 1<<10)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			_, _ = b.errors.Write(buf[:n])
		}
	}()
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	b.await(t, regexp.MustCompile("\r\x1b\\[K0 open \\| TX 0 kernel, 0 user \\| RX 0 kernel, 0 user \\| 0 B sent \\| 0 rekeys$"))
	if status := b.stop(t, syscall.SIGINT); status != exitOK {
		t.Errorf("exit status %d: %s", status, b.stderr())
	}
	b.await(t, regexp.MustCompile("0 rekeys\r\n$"))
}
