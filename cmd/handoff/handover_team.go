package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// team is the processes of a relay, of which one serves at a time.
type team struct {
	relay   *relay
	flags   []string
	addr    string // where they serve
	members []*member
}

// member is one process.
type member struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ready  chan string // its address
	ended  chan struct{}
	err    error // how it ended
	parts  []part
}

// memberTimeout is for a process that does not end when it should.
const memberTimeout = 5 * time.Second

// start starts the first process.
func (t *team) start(ctx context.Context) error {
	m, err := t.add(ctx)
	if err != nil {
		return err
	}
	t.addr, err = m.awaitReady(ctx)
	return err
}

// replace starts another process, which takes over from the last one. That one
// ends when everything has moved.
func (t *team) replace(ctx context.Context) (last *member, err error) {
	last = t.members[len(t.members)-1]
	next, err := t.add(ctx)
	if err != nil {
		return nil, err
	}
	_, err = next.awaitReady(ctx)
	return last, err
}

// stop ends the last process.
func (t *team) stop() error {
	last := t.members[len(t.members)-1]
	if err := last.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-last.ended
	return last.err
}

// wait waits for all processes to end.
func (t *team) wait() {
	for _, m := range t.members {
		<-m.ended
	}
}

// parts returns who has sent what, in the order of the processes. They must have
// ended.
func (t *team) parts() (all []part) {
	for _, m := range t.members {
		all = append(all, m.parts...)
	}
	return all
}

// add starts one more process.
func (t *team) add(ctx context.Context) (*member, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(t.relay.dir, name) }
	m := &member{ready: make(chan string, 1), ended: make(chan struct{})}
	m.cmd = exec.CommandContext(ctx, self, append([]string{
		"serve", in(relayFiles), "--addr", "127.0.0.1:0", "--cert", in(relayCert), "--key", in(relayKey),
		"--handover", in(relaySocket), "--parts", "--no-status",
	}, t.flags...)...)
	m.cmd.Cancel = func() error { return m.cmd.Process.Signal(syscall.SIGTERM) }
	m.cmd.WaitDelay = memberTimeout
	m.cmd.Stderr = &m.stderr
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	t.members = append(t.members, m)
	go m.watch(stdout)
	return m, nil
}

// watch reads what the process says, until it ends.
func (m *member) watch(stdout io.Reader) {
	defer close(m.ended)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			m.ready <- addr
			continue
		}
		var p part
		if json.Unmarshal(lines.Bytes(), &p) == nil {
			m.parts = append(m.parts, p)
		}
	}
	if err := m.cmd.Wait(); err != nil {
		said := strings.Split(strings.TrimSpace(m.stderr.String()), "\n")
		m.err = fmt.Errorf("server process %d: %w: %s", m.cmd.Process.Pid, err, said[len(said)-1])
	}
}

func (m *member) awaitReady(ctx context.Context) (addr string, err error) {
	select {
	case addr = <-m.ready:
		return addr, nil
	case <-m.ended:
		return "", fmt.Errorf("server process %d ended at once: %w", m.cmd.Process.Pid, m.err)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
