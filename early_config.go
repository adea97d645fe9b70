package tls

import (
	"context"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/session"
)

// chooseAntiReplay finds what remembers early data for b. One in memory will do
// only where nobody else can have the same tickets.
func (b *binding) chooseAntiReplay() error {
	switch base := b.base; {
	case b.cfg.AntiReplay != nil:
		b.replays = b.cfg.AntiReplay
	case base != nil && base.cfg.AntiReplay != nil:
		b.replays = base.cfg.AntiReplay
	case b.cfg.sharesSessions():
	case base != nil:
		b.replays = base.cfg.ownAntiReplay(b.keys)
	default:
		b.replays = b.cfg.ownAntiReplay(b.keys)
	}
	if b.replays == nil && b.cfg.MaxEarlyData > 0 && !b.cfg.SessionTicketsDisabled {
		return &ConfigError{"AntiReplay", "it must be set for MaxEarlyData, as others may have this server's tickets or their keys: give it a store that all of them share"}
	}
	if b.cfg.MaxEarlyData > 0 && b.replays != nil && b.replays.Own() && b.keys.Source != nil {
		return &ConfigError{"AntiReplay", "one in memory from session.NewAntiReplay is for keys of this process only, and these have a Source: give it a store that all who share it share"}
	}
	return nil
}

// acceptEarlyData is asked when all else speaks for early data.
func (b *binding) acceptEarlyData(ctx context.Context, _ *handshake.ClientHelloInfo, s *session.State, binder []byte) bool {
	return b.replays.Accept(ctx, s, binder)
}
