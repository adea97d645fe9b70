package main

import (
	"context"
	"fmt"
	"io"
	"strings"

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
}

// sources open what WHERE names, by what is before its first colon.
var sources = map[string]func(where string) (source, error){
	"file": func(where string) (source, error) {
		return unclosed{file.NewRing(strings.TrimPrefix(where, "file:"))}, nil
	},
	"redis":  openRedis,
	"rediss": openRedis,
	"etcd":   openEtcd,
	"etcds":  openEtcd,
}

// placeNames says what there is, for those who named something else.
const placeNames = "file:PATH, redis://HOST:PORT and etcd://HOST:PORT"

// unclosed is a source that has nothing to close.
type unclosed struct{ session.RingSource }

func (unclosed) Close() error { return nil }

// String is the source's own name.
func (u unclosed) String() string { return fmt.Sprint(u.RingSource) }

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
	return redisSource{redis.NewRing(client, key), client}, nil
}

type redisSource struct {
	*redis.Ring
	io.Closer
}

// silent is a logger for Redis's client.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func openEtcd(where string) (source, error) {
	ring, err := etcd.OpenRing(where)
	if err != nil {
		return nil, err
	}
	return ring, nil
}
