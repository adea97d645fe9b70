package main

import "github.com/alecthomas/kong"

// helpCmd prints the help of a command, for those who do not ask by --help.
type helpCmd struct {
	Command string `arg:"" optional:"" help:"The command."`
}

// Validate refuses what is no command. It is called by the parser.
func (c *helpCmd) Validate(parsed *kong.Context) error {
	_, err := c.page(parsed)
	return err
}

// Run implements the command.
func (c *helpCmd) Run(parsed *kong.Context) error {
	page, err := c.page(parsed)
	if err != nil {
		return err
	}
	return page.PrintUsage(false)
}

// page returns the command line whose help is wanted.
func (c *helpCmd) page(parsed *kong.Context) (*kong.Context, error) {
	var args []string
	if c.Command != "" {
		args = []string{c.Command}
	}
	page, err := kong.Trace(parsed.Kong, args)
	if err != nil {
		return nil, err
	}
	return page, page.Error
}
