//go:build linux

// Command guest is the /init of the kernels that the lab boots. It makes the
// kernel ready, runs one command, says how it ended and turns the machine off.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-handoff/tls/interop/lab/job"
)

// setupFailed is the exit status where the command could not be started.
const setupFailed = 126

func main() {
	if j, err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "lab: guest:", err)
	} else {
		time.AfterFunc(j.Limit, turnOff)
		serve(j)
	}
	turnOff()
}

// prepare does what must be done before the job can be read.
func prepare() (*job.Job, error) {
	if os.Getpid() != 1 {
		return nil, errors.New("this is not the first process of a machine")
	}
	for _, m := range early {
		if err := m.do(); err != nil {
			return nil, err
		}
	}
	if err := rawConsole(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(job.Path)
	if err != nil {
		return nil, err
	}
	return job.Decode(text)
}

// serve runs the job and prints its exit status.
func serve(j *job.Job) {
	err := setUp(j)
	fmt.Printf("\n%s\n", j.Begins())
	code := setupFailed
	if err == nil {
		code, err = run(j)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab: guest:", err)
	}
	fmt.Printf("\n%s\n", j.Ends(code))
}

func setUp(j *job.Job) error {
	if err := loadModules(j.Modules); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	return enterRoot(j)
}

// run starts the command and waits for it, and meanwhile for the processes
// that lost their parent, as the first process of a machine has to.
func run(j *job.Job) (code int, err error) {
	name, err := lookUp(j)
	if err != nil {
		return setupFailed, err
	}
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return setupFailed, err
	}
	process, err := os.StartProcess(name, j.Args, &os.ProcAttr{
		Dir: j.Dir, Env: j.Env, Files: []*os.File{nothing, os.Stdout, os.Stderr},
	})
	if err != nil {
		return setupFailed, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR), err == nil && pid != process.Pid:
			continue
		case err != nil:
			return setupFailed, err
		case status.Signaled():
			fmt.Fprintln(os.Stderr, "lab: guest: the command was ended by a signal:", status.Signal())
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
}

// turnOff waits until the console has everything, as what it still holds is
// lost with the machine.
func turnOff() {
	_ = unix.IoctlSetInt(1, unix.TCSBRK, 1)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
