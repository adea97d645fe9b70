package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/go-handoff/tls/bench"
)

// cli is the grammar of the command line.
type cli struct {
	Serve       serveCmd         `cmd:"" help:"Serve a directory over HTTPS."`
	Get         getCmd           `cmd:"" help:"Fetch a file over HTTPS."`
	Connect     connectCmd       `cmd:"" help:"Show what a server negotiates, then pipe standard input and output."`
	Demo        demoCmd          `cmd:"" help:"Serve and fetch a file in this process, and show what was negotiated."`
	Handover    handoverCmd      `cmd:"" help:"Replace a server under an open download, and show that nothing is lost."`
	Tickets     ticketsCmd       `cmd:"" help:"Show the ticket keys that servers share, or rotate them."`
	Probe       probeCmd         `cmd:"" help:"Show what this kernel can do with TLS."`
	Bench       benchCmd         `cmd:"" help:"Measure this stack beside crypto/tls on this machine."`
	Help        helpCmd          `cmd:"" help:"Print help on a command."`
	Version     versionCmd       `cmd:"" help:"Print the version."`
	VersionFlag kong.VersionFlag `name:"version" help:"Print the version."`
}

// process is what commands see of the process that they run in.
type process struct {
	stdin          io.Reader
	stdout, stderr *os.File
	keyLog         io.Writer // nil for none
}

const (
	exitOK     = 0
	exitError  = 1
	exitUsage  = 2
	exitSignal = 128 // plus the signal's number, as shells report it
)

func main() {
	bench.Peer() // does not return in a child that bench has started
	ctx := stopBySignal()
	os.Exit(run(ctx, &process{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:]))
}

// interruption is the signal that ended a command.
type interruption struct{ syscall.Signal }

// Error is what the user is told.
func (interruption) Error() string { return "interrupted" }

// stopBySignal returns a context that the first signal ends, for the command to
// end in an orderly way. By then the second one has its usual effect again.
func stopBySignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Stop(signals)
		cancel(interruption{s.(syscall.Signal)})
	}()
	return ctx
}

// run runs the command in args and returns the exit status.
func run(ctx context.Context, p *process, args []string) int {
	var c cli
	parser := kong.Must(&c,
		kong.Name("handoff"),
		kong.Description("HTTPS over the handoff TLS stack. SSLKEYLOGFILE names a file that the secrets of all connections are appended to."),
		kong.Writers(p.stdout, p.stderr),
		kong.Vars{"version": versionText()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
	)
	command, err := parser.Parse(args)
	if err != nil {
		return p.refuse(err)
	}
	closeKeyLog, err := p.openKeyLog(os.Getenv("SSLKEYLOGFILE"))
	if err == nil {
		defer closeKeyLog()
		err = command.Run()
	}
	return p.conclude(ctx, err)
}

// refuse says what is wrong with a command line, and where help is.
func (p *process) refuse(err error) int {
	name := "handoff"
	if e := (*kong.ParseError)(nil); errors.As(err, &e) {
		for _, element := range e.Context.Path {
			if element.Command != nil {
				name += " " + element.Command.Name
			}
		}
	}
	p.complain(err)
	fmt.Fprintf(p.stderr, "Run \"%s --help\" for usage.\n", name)
	return exitUsage
}

// conclude says what went wrong, if something did.
func (p *process) conclude(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	var by interruption
	if errors.As(context.Cause(ctx), &by) && (errors.Is(err, context.Canceled) || errors.Is(err, by)) {
		p.complain(by)
		return exitSignal + int(by.Signal)
	}
	p.complain(err)
	return exitError
}

// complain prints an error as one line.
func (p *process) complain(err error) {
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	fmt.Fprintf(p.stderr, "handoff: %s\n", printable(text))
}

// versionCmd prints the version.
type versionCmd struct{}

// Run implements the command.
func (versionCmd) Run(p *process) error {
	_, err := fmt.Fprintln(p.stdout, versionText())
	return err
}

func versionText() string {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	return fmt.Sprintf("handoff %s %s %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
