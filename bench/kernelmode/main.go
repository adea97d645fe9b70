//go:build linux

// Command kernelmode measures what kernel TLS costs and saves: system calls,
// copies and allocations, counted; and CPU time, as instructions. It boots the
// kernels that it needs (interop/lab) and writes a table:
//
//	go run ./bench/kernelmode -o bench/kernelmode/RESULTS.md
//
// System calls are those that strace sees in a server's process between two
// marks. What is copied is what those calls returned that move bytes between
// program and kernel. CPU time is that of the server's process in an emulated
// machine whose clock counts instructions: no measure of throughput, as it knows
// neither caches nor how long an instruction takes, but the same on every host.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kernelmode:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if arg := os.Getenv(serveEnv); arg != "" {
		return serve(arg)
	}
	flags := flag.NewFlagSet("kernelmode", flag.ExitOnError)
	inside := flags.String("inside", "", "what to measure here, in a kernel that has TLS: counts or instructions")
	out := flags.String("o", "RESULTS.md", "`file` to write")
	_ = flags.Parse(args) // exits at an error
	r := newReport(os.Stdout)
	var err error
	switch *inside {
	case "":
		return measure(context.Background(), *out)
	case "counts":
		err = countAll(r)
	case "instructions":
		err = countInstructions(r)
	default:
		err = fmt.Errorf("there are no %q to measure", *inside)
	}
	if err == nil {
		r.about("kernel", release())
		err = r.err
	}
	return err
}
