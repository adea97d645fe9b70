// Package rustls plays cases of package bench with rustls.
//
// A small Rust program does it (program/src/main.rs), as the one in C does for
// OpenSSL. It is built with cargo from the source that Debian 12 has packages of:
// cargo, librust-rustls-dev and librust-rustls-pemfile-dev. Nothing is fetched.
// These are rustls 0.20.8 and ring 0.16.20, of 2022: later ones, and those on
// aws-lc-rs, are faster.
package rustls

import (
	"bytes"
	"context"
	_ "embed" // the program is in this one
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-handoff/tls/bench"
	"github.com/go-handoff/tls/bench/beside"
)

//go:embed program/Cargo.toml
var manifest []byte

//go:embed program/src/main.rs
var source []byte

// crates is where Debian's packages put source.
const crates = "/usr/share/cargo/registry"

const packages = "(Debian 12: apt-get install cargo librust-rustls-dev librust-rustls-pemfile-dev)"

// Start builds the program, which may take two minutes, and starts it. It runs
// until its Close, or until ctx ends.
func Start(ctx context.Context) (*beside.Program, error) {
	return beside.Start(ctx, bench.Rustls, build)
}

func build(ctx context.Context, dir string) (string, error) {
	for name, text := range map[string][]byte{"Cargo.toml": manifest, "src/main.rs": source} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return "", err
		}
	}
	target := filepath.Join(dir, "target")
	cmd := exec.CommandContext(ctx, "cargo", "build", "--release", "--offline", "--quiet", "--target-dir", target,
		"--config", `source.crates-io.replace-with = "debian"`, "--config", fmt.Sprintf("source.debian.directory = %q", crates))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("there is no cargo %s: %w", packages, err)
	case err != nil && (bytes.Contains(out, []byte(crates)) || bytes.Contains(out, []byte("no matching package"))):
		return "", fmt.Errorf("there is no source of it %s: %w", packages, err)
	case err != nil:
		return "", fmt.Errorf("its program cannot be built: %w: %s", err, bytes.TrimSpace(out))
	}
	return filepath.Join(target, "release", "beside"), nil
}
