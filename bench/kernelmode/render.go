//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strings"
)

// render writes all figures as tables.
func render(counted, measured []figure, qemu string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Kernel mode: what it costs and saves

Written by 'make bench-kernel'; do not edit. TLS 1.3 with AES-128-GCM on the loopback interface.

Counts are from Linux %s (User Mode Linux, one processor): system calls of the server's process by strace, without those that the Go runtime makes by
itself (scheduler, poller, memory). They vary a little with how the scheduler cuts reads and writes. Bytes copied are those that
calls moved between program and kernel, for each byte of the file.

Instructions are the CPU time of the server's process in Linux %s on %s with
'-accel tcg -cpu max,erms=off,fsrm=off -icount shift=0,sleep=off', a nanosecond for each instruction. They are no measure of throughput: a real processor
takes longer for some and has wider ones for AES-GCM (here: %s). %s.

`, text(counted, "kernel"), text(measured, "kernel"), qemu, text(measured, "AES-GCM in the kernel"), text(measured, "Go"))
	serving(&b, counted, measured)
	responses(&b, measured)
	receivingTable(&b, counted, measured)
	fmt.Fprintf(&b, "## Moving\n\n| direction | instructions | allocations |\n|---|---|---|\n")
	for _, f := range of(measured, move) {
		fmt.Fprintf(&b, "| %s | %.0f | %.0f |\n", f.Name, f.Value, value(counted, moveAllocs, f.Name, 0))
	}
	b.WriteString("\n## Idle\n\nHeap that a server's connection holds after a byte each way, without its TCP socket.\n\n| keys | bytes |\n|---|---|\n")
	for _, f := range of(counted, idle) {
		fmt.Fprintf(&b, "| %s | %.0f |\n", f.Name, f.Value)
	}
	return b.Bytes()
}

// serving is about a large file.
func serving(b *bytes.Buffer, counted, measured []figure) {
	fmt.Fprintf(b, "## A file of %d MiB\n\nPrograms that read and write do so %d KiB at a time.\n\n| way | instructions per MiB | system calls per MiB | bytes copied |\n|---|---|---|---|\n", bulkSize>>20, bufferSize>>10)
	for _, f := range of(measured, bulk) {
		if !strings.HasPrefix(f.Name, receiving) {
			fmt.Fprintf(b, "| %s | %.0f | %.1f | %.2f |\n", f.Name, f.Value, value(counted, calls, f.Name, bufferSize), value(counted, copies, f.Name, bufferSize))
		}
	}
}

// responses is about short ones.
func responses(b *bytes.Buffer, measured []figure) {
	fmt.Fprint(b, "\n## One response on a connection, closing it included: instructions\n\nThe sending side moves with the response where the kernel sends.\n\n| way |")
	for _, size := range shortSizes {
		fmt.Fprintf(b, " %d KiB |", size>>10)
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(shortSizes)))
	for _, w := range ways {
		if w.receives() || w.source {
			continue
		}
		fmt.Fprintf(b, "| %s |", w.name)
		for _, size := range shortSizes {
			fmt.Fprintf(b, " %.0f |", value(measured, short, w.name, size))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n" + breakEven(measured) + "\n\n")
}

// breakEven says from which size on sendfile pays for the move: where the lines
// through the two largest responses and the whole file cross.
func breakEven(measured []figure) string {
	const inKernel, inUser = "kernel TLS, ReadFrom (sendfile)", "user space, ReadFrom"
	largest := shortSizes[len(shortSizes)-1]
	saved := value(measured, bulk, inUser, bulkSize) - value(measured, bulk, inKernel, bulkSize)
	gain := value(measured, short, inUser, largest) - value(measured, short, inKernel, largest)
	if saved <= 0 {
		return "By sendfile the kernel saves nothing."
	}
	moved := saved*float64(largest)/(1<<20) - gain
	return fmt.Sprintf("By sendfile the kernel saves %.0f instructions per MiB. From the response of %d KiB follows that moving, with closing, costs %.0f: as much as is saved of %.0f KiB.",
		saved, largest>>10, moved, moved/saved*1024)
}

// receivingTable is about the other direction.
func receivingTable(b *bytes.Buffer, counted, measured []figure) {
	fmt.Fprint(b, "## Receiving\n\n| way | instructions per MiB | system calls per MiB with buffers of 4 KiB | 16 KiB | 64 KiB | 256 KiB |\n|---|---|---|---|---|---|\n")
	for _, f := range of(measured, bulk) {
		name, ok := strings.CutPrefix(f.Name, receiving)
		if !ok {
			continue
		}
		fmt.Fprintf(b, "| %s | %.0f |", name, f.Value)
		for _, n := range []int64{4 << 10, 16 << 10, 64 << 10, 256 << 10} {
			fmt.Fprintf(b, " %.1f |", value(counted, calls, f.Name, n))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, f := range of(counted, records) {
		fmt.Fprintf(b, "Where enough has arrived, the kernel gives a Read of %d KiB %.1f records of 16 KiB at once.\n", f.Size>>10, f.Value)
	}
	b.WriteString("\n")
}

// of returns the figures of a kind.
func of(figures []figure, kind string) (some []figure) {
	for _, f := range figures {
		if f.Kind == kind {
			some = append(some, f)
		}
	}
	return some
}

// value returns one figure. Those that were not measured were not asked for.
func value(figures []figure, kind, name string, size int64) float64 {
	for _, f := range of(figures, kind) {
		if f.Name == name && f.Size == size {
			return f.Value
		}
	}
	panic(fmt.Sprintf("kernelmode: no %s of %s, %d", kind, name, size))
}

func text(figures []figure, name string) string {
	for _, f := range of(figures, about) {
		if f.Name == name {
			return f.Text
		}
	}
	return "unknown"
}
