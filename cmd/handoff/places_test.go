package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/go-handoff/tls/session/sessiontest"
)

// places are where servers can keep what they share.
var places = map[string]func(t *testing.T) place{
	"file": filePlace,
	"redis": func(t *testing.T) place {
		s := sessiontest.StartServer(t, redisServer)
		return place{"redis://" + s.Addr, newTicketsKey(t)}
	},
	"etcd": func(t *testing.T) place {
		s := sessiontest.StartServer(t, etcdServer)
		return place{"etcd://" + s.Addr, newTicketsKey(t)}
	},
}

var redisServer = sessiontest.ServerCommand{
	Name: "redis-server", Package: "redis-server", Ports: 1,
	Args: func(dir string, ports []int) []string {
		return []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(ports[0]), "--dir", dir, "--save", "", "--appendonly", "no"}
	},
	Ready: listens,
}

var etcdServer = sessiontest.ServerCommand{
	Name: "etcd", Package: "etcd-server", Ports: 2,
	Args: func(dir string, ports []int) []string {
		clients, peers := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
		return []string{
			"--data-dir", filepath.Join(dir, "data"), "--logger", "zap", "--log-level", "error", "--name", "one",
			"--listen-client-urls", clients, "--advertise-client-urls", clients,
			"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "one=" + peers,
			"--heartbeat-interval", "20", "--election-timeout", "200",
		}
	},
	Ready: listens,
}

// listens asks whether a server listens.
func listens(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}
