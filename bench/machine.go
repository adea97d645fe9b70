package bench

import (
	"fmt"
	"runtime"
	"strings"
)

// Machine is what figures depend on.
type Machine struct {
	System string   `json:"system"` // operating system and architecture
	Kernel string   `json:"kernel"`
	CPU    string   `json:"cpu"`
	Flags  []string `json:"flags"` // of the CPU, those that ciphers and curves use
	Procs  int      `json:"gomaxprocs"`
	Go     string   `json:"go"`
}

// ThisMachine describes the machine that this process runs on.
func ThisMachine() Machine {
	return Machine{
		System: runtime.GOOS + "/" + runtime.GOARCH,
		Kernel: kernelName(),
		CPU:    cpuName(),
		Flags:  cpuFlags(),
		Procs:  runtime.GOMAXPROCS(0),
		Go:     runtime.Version(),
	}
}

// String describes the machine in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %s, %s (%s), GOMAXPROCS %d, %s", m.System, m.Kernel, m.CPU, strings.Join(m.Flags, " "), m.Procs, m.Go)
}
