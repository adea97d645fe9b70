package tls

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// earlyClient is a client that sends early data, which a Conn does not.
type earlyClient struct {
	t      *testing.T
	conn   net.Conn
	engine *handshake.Engine
	sealer *record.Sealer
	opener *record.Opener
	level  handshake.Level
	early  [][]byte // records to send as soon as there are keys for them
}

// effects does what the engine wants.
func (c *earlyClient) effects() error {
	for ev, ok := c.engine.NextEvent(); ok; ev, ok = c.engine.NextEvent() {
		var err error
		switch ev := ev.(type) {
		case handshake.SendHandshake:
			err = c.send(record.Handshake, ev.Bytes)
		case handshake.SendChangeCipherSpec:
			_, err = c.conn.Write([]byte{20, 3, 3, 0, 1, 1})
		case handshake.InstallRead:
			c.opener, c.level = record.NewOpener(ev.Keys), ev.Level
		case handshake.InstallWrite:
			err = c.install(ev)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *earlyClient) install(ev handshake.InstallWrite) error {
	if ev.Keys == nil {
		c.sealer = new(record.Sealer)
		return nil
	}
	c.sealer = record.NewSealer(ev.Keys)
	if ev.Level != handshake.LevelEarly {
		return nil
	}
	for _, data := range c.early {
		if err := c.send(record.ApplicationData, data); err != nil {
			return err
		}
	}
	return nil
}

func (c *earlyClient) send(typ record.ContentType, content []byte) error {
	rec, err := c.sealer.Seal(nil, typ, content)
	if err != nil {
		return err
	}
	_, err = c.conn.Write(rec)
	return err
}

// run handshakes, sends data and ends its side.
func (c *earlyClient) run() error {
	if err := errors.Join(c.engine.Start(), c.effects()); err != nil {
		return err
	}
	for !c.engine.Established() {
		rec := make([]byte, record.HeaderLen)
		if _, err := io.ReadFull(c.conn, rec); err != nil {
			return err
		}
		n, err := c.opener.Need(rec)
		if err != nil {
			return err
		}
		rec = append(rec, make([]byte, n-len(rec))...)
		if _, err := io.ReadFull(c.conn, rec[record.HeaderLen:]); err != nil {
			return err
		}
		if rec[0] == byte(record.ChangeCipherSpec) {
			continue
		}
		_, content, err := c.opener.Open(nil, rec)
		if err != nil {
			return err
		}
		if err := errors.Join(c.engine.Handle(c.level, content), c.effects()); err != nil {
			return err
		}
	}
	return errors.Join(
		c.send(record.ApplicationData, []byte("after the handshake")),
		c.send(record.Alert, []byte{alertLevelWarning, byte(alert.CloseNotify)}))
}

// TestEarlyDataSkipped offers early data to servers, which pass over it: with
// and without a HelloRetryRequest, up to a limit.
func TestEarlyDataSkipped(t *testing.T) {
	full := make([]byte, record.MaxPlaintext)
	tests := []struct {
		name  string
		early [][]byte
		retry bool
		fails bool
	}{
		{"some", [][]byte{[]byte("early"), []byte("data"), full[:5000]}, false, false},
		{"some, retried", [][]byte{[]byte("early"), []byte("data"), full}, true, false},
		{"too much", [][]byte{full, full}, false, true},
		{"too much, retried", [][]byte{full, full}, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server := cachingClient(), serverConfig("P256")
			resumes(t, client, server)
			b := binding{conn: Client(nil, client), cfg: client}
			hc := b.client()
			hc.Session.MaxEarlyData, hc.Session.EarlyData, hc.EarlyData = 1<<20, true, true
			if test.retry {
				server.CurvePreferences = []CurveID{CurveP521}
			}
			a, raw := sockets(t)
			defer raw.Close()
			s := Server(raw, server)
			c := &earlyClient{t, a, handshake.NewClient(context.Background(), hc), new(record.Sealer), new(record.Opener), 0, test.early}
			done := make(chan error, 1)
			defer a.Close()
			go func() { done <- c.run() }()
			got, err := io.ReadAll(s)
			s.Close()
			clientErr := <-done
			if test.fails {
				ae := AlertError(0)
				if !errors.As(err, &ae) || alert.Description(ae) != alert.UnexpectedMessage || !strings.Contains(err.Error(), "too much early data") {
					t.Errorf("server: %v", err)
				}
				return
			}
			if string(got) != "after the handshake" || err != nil || clientErr != nil {
				t.Errorf("server: %q, %v; client: %v", got, err, clientErr)
			}
			if !s.ConnectionState().DidResume {
				t.Error("not resumed")
			}
		})
	}
}
