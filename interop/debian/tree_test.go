package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A tree that is there is not fetched again, and one without a loader is no
// tree.
func TestFetchKeepsWhatIsThere(t *testing.T) {
	for name, lib := range map[string]string{"split": "lib/x86_64-linux-gnu", "merged": "usr/lib/x86_64-linux-gnu"} {
		root := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(filepath.Join(root, lib), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Fetch(t.Context(), root, "no suite"); err == nil || !strings.Contains(err.Error(), root) {
			t.Errorf("%s: without a loader: %v", name, err)
		}
		loader := filepath.Join(root, lib, "ld-linux-x86-64.so.2")
		if err := os.WriteFile(loader, []byte("#!/bin/sh\necho \"$@\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		tree, err := Fetch(t.Context(), root, "no suite")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, err := tree.Command(t.Context(), "openssl", "version").Output()
		want := "--library-path " + filepath.Join(root, lib) + " " + filepath.Join(root, "usr/bin/openssl") + " version\n"
		if err != nil || string(out) != want {
			t.Errorf("%s: runs %q, %v; want %q", name, out, err, want)
		}
		server := filepath.Join(root, "usr/sbin/nginx")
		if err := os.MkdirAll(filepath.Dir(server), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(server, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if args := tree.Command(t.Context(), "nginx").Args; args[len(args)-1] != server {
			t.Errorf("%s: nginx is run as %q, and is %q", name, args, server)
		}
	}
}
