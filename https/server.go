package https

import (
	"net"
	"net/http"
	"slices"

	"github.com/go-handoff/tls"
)

// Serve serves HTTPS by srv on the connections that ln accepts, until srv is
// closed or shut down: then it returns [http.ErrServerClosed]. It always returns
// an error, and closes ln. See [NewListener] for what it does to srv.
//
// The config must have a certificate or something that finds one. Its
// NextProtos are completed as net/http does it: srv.Protocols says which
// versions of HTTP there are, and NextProtos in which order.
func Serve(srv *http.Server, ln net.Listener, config *tls.Config) error {
	if config == nil || !canServe(config) {
		ln.Close()
		return &tls.ConfigError{Field: "Certificates", Reason: "a server needs Certificates, GetCertificate, GetConfigForClient or GetExternalPSK"}
	}
	return srv.Serve(NewListener(srv, ln, config))
}

// ListenAndServe listens on the TCP address srv.Addr, or ":https" if that is
// empty, and calls [Serve].
func ListenAndServe(srv *http.Server, config *tls.Config) error {
	ln, err := listen(srv)
	if err != nil {
		return err
	}
	return Serve(srv, ln, config)
}

// ServeTLS is srv.ServeTLS over connections of package tls. It serves by what
// [tls.FromStd] makes of srv.TLSConfig, which may be nil. The files are needed
// unless that has a certificate or something that finds one; they hold the
// chain, leaf first, and the key, in PEM. Later changes to srv.TLSConfig have
// no effect.
func ServeTLS(srv *http.Server, ln net.Listener, certFile, keyFile string) error {
	config, err := configOf(srv, certFile, keyFile)
	if err != nil {
		ln.Close()
		return err
	}
	return Serve(srv, ln, config)
}

// ListenAndServeTLS listens on the TCP address srv.Addr, or ":https" if that is
// empty, and calls [ServeTLS].
func ListenAndServeTLS(srv *http.Server, certFile, keyFile string) error {
	ln, err := listen(srv)
	if err != nil {
		return err
	}
	return ServeTLS(srv, ln, certFile, keyFile)
}

func listen(srv *http.Server) (net.Listener, error) {
	addr := srv.Addr
	if addr == "" {
		addr = ":https"
	}
	return net.Listen("tcp", addr)
}

func configOf(srv *http.Server, certFile, keyFile string) (*tls.Config, error) {
	config, err := tls.FromStd(srv.TLSConfig)
	if err != nil || canServe(config) && certFile == "" && keyFile == "" {
		return config, err
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	config.Certificates = []tls.Certificate{cert}
	return config, err
}

func canServe(c *tls.Config) bool {
	return len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil || c.GetExternalPSK != nil
}

const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// withProtocols returns config with NextProtos that say what p says.
func withProtocols(config *tls.Config, p http.Protocols) *tls.Config {
	protos := nextProtos(config.NextProtos, p)
	if slices.Equal(protos, config.NextProtos) {
		return config
	}
	config = config.Clone()
	config.NextProtos = protos
	return config
}

// nextProtos drops from protos the versions of HTTP that are not in p, and
// appends those that are and were not there.
func nextProtos(protos []string, p http.Protocols) []string {
	protos = slices.Clone(protos)
	for _, version := range []struct {
		name    string
		enabled bool
	}{{protoHTTP2, p.HTTP2()}, {protoHTTP1, p.HTTP1()}} {
		switch there := slices.Contains(protos, version.name); {
		case version.enabled && !there:
			protos = append(protos, version.name)
		case !version.enabled:
			protos = slices.DeleteFunc(protos, func(s string) bool { return s == version.name })
		}
	}
	return protos
}
