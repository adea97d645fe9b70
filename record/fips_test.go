package record

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// The mode can only be set when a process starts.
func TestFIPSOnly(t *testing.T) {
	if fips140.Enforced() {
		forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
			_, err := NewSealer(testKeys(suite, 0)).Seal(nil, ApplicationData, pattern(1))
			wantAlert(t, err, alert.InternalError)
			_, _, err = NewOpener(testKeys(suite, 0)).Open(nil, []byte{23, 3, 3, 0, 1, 1})
			wantAlert(t, err, alert.InternalError)
		})
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFIPSOnly$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
