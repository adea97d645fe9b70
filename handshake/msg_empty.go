package handshake

import "github.com/go-handoff/tls/internal/wire"

// endOfEarlyData is EndOfEarlyData (RFC 9846, section 4.6).
type endOfEarlyData struct{}

func (*endOfEarlyData) append(b []byte) []byte { return append(b, byte(typeEndOfEarlyData), 0, 0, 0) }

func parseEndOfEarlyData(body []byte) (*endOfEarlyData, error) {
	return parseEmpty[endOfEarlyData](body, "EndOfEarlyData")
}

// helloRequest is the HelloRequest of TLS 1.2 (RFC 5246, section 7.4.1.1).
type helloRequest struct{}

func (*helloRequest) append(b []byte) []byte { return append(b, byte(typeHelloRequest), 0, 0, 0) }

func parseHelloRequest(body []byte) (*helloRequest, error) {
	return parseEmpty[helloRequest](body, "HelloRequest")
}

// serverHelloDone is the ServerHelloDone of TLS 1.2 (RFC 5246, section 7.4.5).
type serverHelloDone struct{}

func (*serverHelloDone) append(b []byte) []byte { return append(b, byte(typeServerHelloDone), 0, 0, 0) }

func parseServerHelloDone(body []byte) (*serverHelloDone, error) {
	return parseEmpty[serverHelloDone](body, "ServerHelloDone")
}

func parseEmpty[M any](body []byte, what string) (*M, error) {
	r := wire.NewReader(body)
	if err := r.Done(what); err != nil {
		return nil, err
	}
	return new(M), nil
}
