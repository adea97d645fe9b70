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
)

// cli is the grammar of the command line.
type cli struct {
	Serve       serveCmd         `cmd:"" help:"Serve a directory over HTTPS."`
	Get         getCmd           `cmd:"" help:"Fetch a file over HTTPS."`
	Connect     connectCmd       `cmd:"" help:"Show what a server negotiates, then pipe standard input and output."`
	Demo        demoCmd          `cmd:"" help:"Serve and fetch a file in this process, and show what was negotiated."`
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
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

func main() {
	// The first signal ends the command in an orderly way. Once it has come,
	// the second one has its usual effect.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, &process{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:]))
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
		p.complain(err)
		fmt.Fprintln(p.stderr, "Run \"handoff --help\" for usage.")
		return exitUsage
	}
	closeKeyLog, err := p.openKeyLog(os.Getenv("SSLKEYLOGFILE"))
	if err == nil {
		defer closeKeyLog()
		err = command.Run()
	}
	if err != nil {
		p.complain(explain(ctx, err))
		return exitError
	}
	return exitOK
}

// complain prints an error as one line.
func (p *process) complain(err error) {
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	fmt.Fprintf(p.stderr, "handoff: %s\n", printable(text))
}

// explain replaces errors whose text says little to a user.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
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
