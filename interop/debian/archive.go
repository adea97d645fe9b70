// Package debian fetches packages of any release of Debian, beside the system's
// own and without installing them, and runs their programs. It needs apt, dpkg
// and the keys of Debian's archive, so a Debian system, and no privileges.
//
// The packages are those for amd64.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Archive fetches packages of one suite of Debian, such as "trixie", with a
// configuration of apt that is its own, so that nothing of the system's changes.
type Archive struct {
	suite string
	dir   string // for everything
}

// Where Debian's packages come from if the system has no source of them.
const defaultMirror = "http://deb.debian.org/debian/"

// Open downloads the suite's index. Everything is kept in dir, which it makes.
func Open(ctx context.Context, suite, dir string) (*Archive, error) {
	a := &Archive{suite, dir}
	keys, err := debianKeys()
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	files := map[string]string{
		"apt.conf":     aptConfig(dir),
		"status":       "",
		"sources.list": fmt.Sprintf("deb [arch=amd64 target=Packages signed-by=%s] %s %s main\n", keys, mirror(ctx), suite),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	_, err = a.apt(ctx, "apt-get", "-q", "--error-on=any", "update")
	return a, err
}

// aptConfig comes after the system's, so that its proxies stay, and takes the
// system's hooks out: they are for the system's own lists. The status file is
// empty, or apt would take a version that is installed for the newest one.
func aptConfig(dir string) string {
	return fmt.Sprintf(`Dir::State::Lists "%[1]s/lists";
Dir::State::Status "%[1]s/status";
Dir::Cache "%[1]s/cache";
Dir::Etc::SourceList "%[1]s/sources.list";
Dir::Etc::SourceParts "/dev/null";
APT::Sandbox::User "root";
APT::Architecture "amd64";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`, dir)
}

// debianKeys returns the file with the keys of Debian's archive.
func debianKeys() (string, error) {
	for _, name := range []string{"debian-archive-keyring.pgp", "debian-archive-keyring.gpg"} {
		path := filepath.Join("/usr/share/keyrings", name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there are no keys of Debian's archive in /usr/share/keyrings: it takes a Debian system with the package debian-archive-keyring")
}

// mirror returns the address that the system itself has Debian's packages from.
func mirror(ctx context.Context) string {
	const format = "$(RELEASE) $(COMPONENT) $(IDENTIFIER) $(REPO_URI)"
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--no-release-info", "--format", format).Output()
	if err != nil {
		return defaultMirror
	}
	return mainMirror(string(out))
}

// mainMirror picks the archive with whole releases, and not with their updates,
// in what apt-get indextargets says. Others may have a release "stable" too, but
// not at such an address.
func mainMirror(targets string) string {
	releases := []string{"bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable"}
	for line := range strings.Lines(targets) {
		f := strings.Fields(line)
		if len(f) == 4 && slices.Contains(releases, f[0]) && f[1] == "main" && f[2] == "Packages" && strings.Contains(f[3], "debian") {
			return f[3]
		}
	}
	return defaultMirror
}

// apt runs a command of apt's and returns what it prints.
func (a *Archive) apt(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, append([]string{"-c", filepath.Join(a.dir, "apt.conf")}, args...)...)
	cmd.Dir = filepath.Join(a.dir, "debs")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("packages of %s cannot be fetched: %s %s: %s", a.suite, name, strings.Join(args, " "), firstError(stderr.String(), err))
	}
	return stdout.String(), nil
}

// firstError returns the first line in which apt says what is wrong.
func firstError(stderr string, err error) string {
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "E:") || strings.HasPrefix(line, "Err") {
			return strings.TrimSpace(line)
		}
	}
	return err.Error()
}

// Depends returns the names of the packages that one needs.
func (a *Archive) Depends(ctx context.Context, name string) ([]string, error) {
	out, err := a.apt(ctx, "apt-cache", "depends", "--important", name)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// Unpack downloads the packages' newest versions and unpacks them into dir.
func (a *Archive) Unpack(ctx context.Context, dir string, packages ...string) error {
	if _, err := a.apt(ctx, "apt-get", append([]string{"-q", "download"}, packages...)...); err != nil {
		return err
	}
	for _, p := range packages {
		found, err := filepath.Glob(filepath.Join(a.dir, "debs", p+"_*.deb"))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("package %s of %s was downloaded as %q", p, a.suite, found)
		}
		if err := unpack(ctx, found[0], dir); err != nil {
			return err
		}
	}
	return nil
}

// unpackAll unpacks packages and all that they need, directly or not, from an
// archive that nothing was fetched from before.
func (a *Archive) unpackAll(ctx context.Context, dir string, packages ...string) error {
	args := []string{"-q", "--yes", "--no-install-recommends", "--download-only", "install"}
	if _, err := a.apt(ctx, "apt-get", append(args, packages...)...); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(a.dir, "cache", "archives", "*.deb"))
	if err != nil || len(found) < len(packages) {
		return fmt.Errorf("packages %q of %s were downloaded as %q", packages, a.suite, found)
	}
	for _, deb := range found {
		if err := unpack(ctx, deb, dir); err != nil {
			return err
		}
	}
	return nil
}

func unpack(ctx context.Context, deb, dir string) error {
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb -x %s: %w %s", deb, err, out)
	}
	return nil
}
