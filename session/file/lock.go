package file

import (
	"context"
	"os"
	"time"
)

// lockPause is how long to wait before asking for a lock again.
const lockPause = time.Millisecond

// lockFile locks a file against all other processes, and all other times that
// this one has opened it, until it is closed.
func lockFile(ctx context.Context, f *os.File) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		locked, err := tryLock(f)
		if locked || err != nil {
			return err
		}
		time.Sleep(lockPause)
	}
}
