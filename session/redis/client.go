package redis

import (
	"errors"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// clientTimeout bounds each step of a client from NewClient.
	clientTimeout = time.Second
	// maxPool is the most connections that a URL may ask for.
	maxPool = 1 << 16
)

// schemes are those of URLs, and what go-redis calls them.
var schemes = map[string]string{
	"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix",
}

// errURL does not say what is wrong with a URL: that could be its password.
var errURL = errors.New("session/redis: not a URL like redis://user:password@host:6379/0, with characters like / and @ in the password percent-encoded; rediss is with TLS; options are those of go-redis")

// NewClient returns a client for the server at a URL, for a [Ring] and a
// [Store]: redis://user:password@host:port/database, rediss:// with TLS, or
// unix://user:password@/path/of/socket?db=database; valkey:// and valkeys:// are
// the same as redis:// and rediss://. Options of go-redis may follow, as in
// ?pool_size=10. It does not connect yet.
//
// Its timeouts of one second and its single retry are such that it works again
// as soon as the server does; options may say otherwise.
func NewClient(url string) (*goredis.Client, error) {
	scheme, rest, found := strings.Cut(url, "://")
	known, ok := schemes[strings.ToLower(scheme)]
	if !found || !ok {
		return nil, errURL
	}
	options, err := goredis.ParseURL(known + "://" + rest)
	if err != nil {
		return nil, errURL
	}
	for _, n := range []int{
		options.PoolSize, options.MinIdleConns, options.MaxIdleConns, options.MaxActiveConns,
		options.MaxConcurrentDials, max(options.PipelinePoolSize, 0),
	} {
		if n < 0 || n > maxPool {
			return nil, errURL
		}
	}
	setDefaults(options)
	return goredis.NewClient(options), nil
}

// setDefaults sets what the URL has not.
func setDefaults(o *goredis.Options) {
	for _, timeout := range []*time.Duration{&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.PoolTimeout} {
		if *timeout == 0 {
			*timeout = clientTimeout
		}
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = 1 // for a connection that the server has closed
	}
	if o.MinRetryBackoff == 0 {
		o.MinRetryBackoff = -1 // none
	}
	o.ContextTimeoutEnabled = true
	o.DialerRetries = 1
	// What follows costs round trips for each connection.
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
