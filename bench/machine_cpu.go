package bench

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// cpuFlags returns which of the instructions that matter here the CPU has.
func cpuFlags() []string {
	flags := []struct {
		name string
		has  bool
	}{
		{"aes", cpu.X86.HasAES || cpu.ARM64.HasAES},
		{"pclmulqdq", cpu.X86.HasPCLMULQDQ},
		{"pmull", cpu.ARM64.HasPMULL},
		{"sha2", cpu.ARM64.HasSHA2},
		{"avx2", cpu.X86.HasAVX2},
		{"bmi2", cpu.X86.HasBMI2},
		{"avx512f", cpu.X86.HasAVX512F},
		{"vaes", cpu.X86.HasAVX512VAES},
		{"vpclmulqdq", cpu.X86.HasAVX512VPCLMULQDQ},
	}
	has := []string{}
	for _, f := range flags {
		if f.has {
			has = append(has, f.name)
		}
	}
	if len(has) == 0 {
		has = append(has, "none known of "+runtime.GOARCH)
	}
	return has
}
