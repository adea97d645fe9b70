package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/etcd"
	"github.com/go-handoff/tls/session/file"
	"github.com/go-handoff/tls/session/redis"
)

// source is where ticket keys are kept.
type source interface {
	session.RingSource
	io.Closer
	// antiReplay returns what keeps the servers from accepting early data twice.
	antiReplay() (*session.AntiReplay, error)
}

// sources open what WHERE names, by what is before its first colon.
var sources = map[string]func(where string) (source, error){
	"file":   openFile,
	"redis":  openRedis,
	"rediss": openRedis,
	"etcd":   openEtcd,
	"etcds":  openEtcd,
}

// placeNames says what there is, for those who named something else.
const placeNames = "file:PATH, redis://HOST:PORT and etcd://HOST:PORT"

// unclosed is what has nothing to close.
type unclosed struct{}

func (unclosed) Close() error { return nil }

func openFile(where string) (source, error) {
	path := strings.TrimPrefix(where, "file:")
	return &fileSource{Ring: file.NewRing(path), seen: path + ".seen"}, nil
}

// fileSource is ticket keys in a file, and beside it a directory of the early
// data that was seen.
type fileSource struct {
	*file.Ring
	seen  string
	store *file.Store
}

func (s *fileSource) antiReplay() (*session.AntiReplay, error) {
	store, err := file.OpenStore(s.seen, maxSeen)
	if err != nil {
		return nil, err
	}
	store.Durable = true
	s.store = store
	return &session.AntiReplay{Store: store, Budget: fileBudget}, nil
}

func (s *fileSource) Close() error {
	if s.store == nil {
		return nil
	}
	return s.store.Close()
}

const (
	// maxSeen is how much early data may come within minutes.
	maxSeen = 100_000
	// fileBudget is what a disk may need to have a mark for sure.
	fileBudget = 20 * time.Millisecond
)

// redisKey is where Redis has the keys if the URL does not say.
const redisKey = "handoff:ticket-keys"

// openRedis opens redis://USER:PASSWORD@HOST:PORT/DB#KEY.
func openRedis(where string) (source, error) {
	url, key, _ := strings.Cut(where, "#")
	if key == "" {
		key = redisKey
	}
	client, err := redis.NewClient(url)
	if err != nil {
		return nil, err
	}
	goredis.SetLogger(silent{}) // what goes wrong is told by the ring
	return redisSource{redis.NewRing(client, key), client, redis.NewStore(client, key+":")}, nil
}

type redisSource struct {
	*redis.Ring
	io.Closer
	store *redis.Store
}

func (s redisSource) antiReplay() (*session.AntiReplay, error) {
	return &session.AntiReplay{Store: s.store}, nil
}

// silent is a logger for Redis's client.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func openEtcd(where string) (source, error) {
	ring, err := etcd.OpenRing(where)
	if err != nil {
		return nil, err
	}
	return etcdSource{ring}, nil
}

type etcdSource struct{ *etcd.Ring }

func (etcdSource) antiReplay() (*session.AntiReplay, error) {
	return nil, errors.New("--early-data does not go with --tickets etcd: something must remember all that was seen, which etcd is not made for")
}
