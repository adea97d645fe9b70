package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// getCmd fetches a file.
type getCmd struct {
	URL    httpsURL `arg:"" help:"What to fetch: an https URL."`
	Output string   `short:"o" placeholder:"FILE" help:"Write to this file, which appears when it is complete, instead of standard output."`
	clientFlags
	httpFlags
}

// Help is printed below the flags.
func (getCmd) Help() string {
	return `Redirects are followed, to https only. Proxies are not used. A download that is cut off is an error, and leaves no file.

Examples:

  handoff get https://go.dev/VERSION?m=text

  handoff get https://localhost:8443/big.iso -o big.iso --cacert cert.pem`
}

// httpsURL is a URL that can be fetched.
type httpsURL string

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *httpsURL) UnmarshalText(text []byte) error {
	*u = httpsURL(text)
	parsed, err := url.Parse(string(text))
	switch {
	case err != nil:
		return explainURL(err)
	case parsed.Scheme != "https" || parsed.Host == "":
		return errors.New("an https URL is needed, such as https://example.com/file")
	}
	return nil
}

// Run implements the command.
func (c *getCmd) Run(ctx context.Context, p *process) error {
	config, err := c.config(p)
	if err != nil {
		return err
	}
	client := newHTTPClient(config, c.protocols())
	defer client.CloseIdleConnections()
	response, err := fetch(ctx, client, string(c.URL))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	out, err := p.createOutput(c.Output)
	if err != nil {
		return err
	}
	defer out.discard()
	w, endProgress := p.showProgress(out, response.ContentLength, path.Base(response.Request.URL.Path))
	_, err = save(w, response)
	endProgress()
	if err != nil {
		return err
	}
	return out.commit()
}

const (
	longDownload     = 1 << 20 // bytes; on shorter ones no progress is shown
	progressInterval = 100 * time.Millisecond
)

// showProgress returns a writer to out that draws a bar, if somebody is there to
// see it and it does not disturb. A negative size is an unknown one.
func (p *process) showProgress(out *output, size int64, name string) (w io.Writer, end func()) {
	short := size >= 0 && size < longDownload
	if short || !isTerminal(p.stderr) || out.Writer == p.stdout && isTerminal(p.stdout) {
		return out, func() {}
	}
	bar := progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionSetDescription(name),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(progressInterval),
	)
	return io.MultiWriter(out, bar), func() {
		_ = bar.Exit() // it draws; what it cannot draw is no loss
		fmt.Fprintln(p.stderr)
	}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
