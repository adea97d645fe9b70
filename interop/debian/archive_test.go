package debian

import (
	"errors"
	"testing"
)

func TestMainMirror(t *testing.T) {
	tests := []struct{ name, targets, want string }{
		{"none", "", defaultMirror},
		{"others", "stable main Packages https://browser.example/linux/deb/\n", defaultMirror},
		{"mirror", `nodistro main Packages https://node.example/
bookworm-security main Packages http://mirror.example/debian-security/
bookworm-updates main Packages http://mirror.example/debian/
bookworm contrib Packages http://contrib.example/debian/
bookworm main DEP-11 http://dep.example/debian/
bookworm main Packages http://mirror.example/debian/
`, "http://mirror.example/debian/"},
	}
	for _, test := range tests {
		if got := mainMirror(test.targets); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestFirstError(t *testing.T) {
	const stderr = "W: something\nE: Failed to fetch http://x  Could not connect\nE: Some index files failed\n"
	if got := firstError(stderr, errors.New("exit status 100")); got != "E: Failed to fetch http://x  Could not connect" {
		t.Errorf("got %q", got)
	}
	if got := firstError("", errors.New("exit status 100")); got != "exit status 100" {
		t.Errorf("got %q", got)
	}
}
