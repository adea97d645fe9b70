package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	// DefaultKey is the key of [OpenRing] for a URL that has none.
	DefaultKey = "handoff/ticket-keys"

	defaultPort = "2379"
	// keepAliveTime and keepAliveTimeout are how soon a connection is given up
	// that is silent. A server may refuse clients that ask every five seconds.
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 5 * time.Second
)

// OpenRing returns the Ring that a URL names, for command lines:
// etcd://host:port,host:port/key, or etcds:// for TLS with the system's roots.
// The port may be missing (2379), and the key (DefaultKey); it begins after the
// slash, and is taken as it is. A URL with a user or a query is refused: who needs
// these has a client of their own for [NewRing].
//
// OpenRing does not connect: whether there is an etcd shows when the Ring is
// used. Its client, which logs nothing, is closed by Close.
func OpenRing(url string) (*Ring, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	hosts, key, _ := strings.Cut(rest, "/")
	var config *tls.Config
	switch scheme {
	case "etcd":
	case "etcds":
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return nil, errors.New("session/etcd: a URL begins with etcd:// or etcds://")
	}
	if key == "" {
		key = DefaultKey
	}
	if strings.ContainsAny(key, "?#") {
		return nil, errors.New("session/etcd: a URL has no query")
	}
	endpoints, err := endpointsOf(hosts, config != nil)
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientConfig(endpoints, config))
	if err != nil {
		return nil, fmt.Errorf("session/etcd: %w", err)
	}
	r := NewRing(client, key)
	r.owned = true
	return r, nil
}

// endpointsOf returns the endpoints of a list of hosts.
func endpointsOf(hosts string, secure bool) (endpoints []string, err error) {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port, err = net.SplitHostPort(host + ":" + defaultPort)
		}
		if err != nil || name == "" || port == "" || strings.ContainsAny(host, "@?#%/\\ ") {
			return nil, errors.New("session/etcd: the hosts of a URL are host:port,host:port")
		}
		endpoints = append(endpoints, scheme+net.JoinHostPort(name, port))
	}
	return endpoints, nil
}

// clientConfig is such that no call waits for longer than its context, and that
// the client is soon connected again when etcd is there again.
func clientConfig(endpoints []string, config *tls.Config) clientv3.Config {
	return clientv3.Config{
		Endpoints:            endpoints,
		TLS:                  config,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		})},
	}
}
