"""A TLS client or server on Python's ssl: it says on its output what it sees.

The only argument is a JSON object. A server sends back what it gets; a client
sends a file's bytes in rounds and tells the hash of what came back.
"""
import hashlib
import json
import socket
import ssl
import sys

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def say(**what):
    print(json.dumps(what), flush=True)


def context(o):
    server = o["mode"] == "server"
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    c.minimum_version = c.maximum_version = VERSIONS[o["version"]]
    c.load_verify_locations(o["roots"])
    c.set_alpn_protocols([o["alpn"]])
    if o["cert"]:
        c.load_cert_chain(o["cert"])
    if o["demand"]:
        c.verify_mode = ssl.CERT_REQUIRED
    if o["group"]:
        c.set_ecdh_curve(o["group"])
    return c


def seen(s):
    say(
        seen=True,
        version=s.version()[4:],
        suite=s.cipher()[0],
        alpn=s.selected_alpn_protocol() or "",
        resumed=str(s.session_reused).lower(),
        client=(s.getpeercert() or {}).get("subject", ((("", ""),),))[0][0][1] if s.server_side else "",
    )


def serve(o):
    c = context(o)
    listener = socket.create_server(("127.0.0.1", 0))
    say(port=listener.getsockname()[1])
    while True:
        raw, _ = listener.accept()
        try:
            s = c.wrap_socket(raw, server_side=True)
            seen(s)
            while b := s.recv(1 << 16):
                s.sendall(b)
            s.unwrap()
            s.close()
            say(end="clean")
        except OSError as e:
            say(end=type(e).__name__)
            raw.close()


def receive(s, n):
    h = hashlib.sha256()
    while n > 0:
        b = s.recv(min(n, 1 << 16))
        if not b:
            raise EOFError
        h.update(b)
        n -= len(b)
    return h.hexdigest()


def connect(o):
    c = context(o)
    with open(o["payload"], "rb") as f:
        payload = f.read()
    session = None
    for _ in range(o["visits"]):
        raw = socket.create_connection(("127.0.0.1", o["port"]))
        s = c.wrap_socket(raw, server_hostname=o["name"], session=session)
        seen(s)
        for _ in range(o["rounds"]):
            s.sendall(payload)
            say(hash=receive(s, len(payload)))
        session = s.session
        sys.stdin.readline()
        raw = s.unwrap()
        raw.close()
        say(end="clean")


options = json.loads(sys.argv[1])
(serve if options["mode"] == "server" else connect)(options)
