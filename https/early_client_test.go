package https

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// TestEarlyConnectionState: a trace that asks for the state of a connection that
// nothing was sent on yet does not begin its handshake.
func TestEarlyConnectionState(t *testing.T) {
	addr := earlyServer(t, nil, nil)
	tr := earlyTransport(t, addr)
	req, err := http.NewRequest(http.MethodGet, "https://"+addr+"/path", nil)
	if err != nil {
		t.Fatal(err)
	}
	var conn *earlyClient
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			conn = info.Conn.(*earlyClient)
			if conn.ConnectionState().HandshakeComplete {
				t.Error("the handshake is complete before anything is sent")
			}
		},
	}))
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !conn.EarlyData().Accepted || !conn.ConnectionState().HandshakeComplete {
		t.Errorf("%+v, complete %v", conn.EarlyData(), conn.ConnectionState().HandshakeComplete)
	}
}

// TestEarlyUnusedConn: a connection that was made for one request, which then
// found another, is kept by net/http. The first request on it is early all the
// same, and sent again if the server says that it is too early.
func TestEarlyUnusedConn(t *testing.T) {
	held, hold := make(chan struct{}), make(chan struct{})
	addr := earlyServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Early-Data") != "":
			w.WriteHeader(http.StatusTooEarly)
			return
		case r.Method == http.MethodPut:
			close(held)
			<-hold
		}
		fmt.Fprint(w, "early= ")
	})
	config := clientConfig()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	dialled, dial := make(chan struct{}, 1), make(chan struct{}, 9)
	tr := NewTransport(config, &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled <- struct{}{}
		<-dial
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	tr.EarlyData = true
	t.Cleanup(tr.CloseIdleConnections)
	status := func(method string) int {
		req, err := http.NewRequest(method, "https://"+addr+"/path", nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode
	}
	dial <- struct{}{}
	status(http.MethodGet)
	<-dialled
	var all sync.WaitGroup
	all.Go(func() { status(http.MethodPut) })
	<-held
	all.Go(func() { status(http.MethodGet) })
	<-dialled
	close(hold) // and the GET takes the connection of the PUT
	all.Wait()
	dial <- struct{}{} // the connection that nobody waits for
	dial <- struct{}{}
	time.Sleep(500 * time.Millisecond)
	if got := status(http.MethodGet); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
}
