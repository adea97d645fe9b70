// A TLS client or server on Node's tls: it says on its output what it sees.
//
// The only argument is a JSON object. A server sends back what it gets; a client
// sends a file's bytes in rounds and tells the hash of what came back.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const readline = require("readline");
const tls = require("tls");

const o = JSON.parse(process.argv[2]);
const label = "EXPERIMENTAL-interop";

function say(what) {
  fs.writeSync(1, JSON.stringify(what) + "\n");
}

function context() {
  const c = {
    minVersion: "TLSv" + o.version,
    maxVersion: "TLSv" + o.version,
    ca: fs.readFileSync(o.roots),
    ALPNProtocols: [o.alpn],
  };
  if (o.cert) c.cert = c.key = fs.readFileSync(o.cert);
  if (o.group) c.ecdhCurve = o.group;
  return c;
}

function seen(s) {
  const peer = s.getPeerCertificate();
  say({
    seen: true,
    version: s.getProtocol().slice(4),
    suite: s.getCipher().name,
    alpn: s.alpnProtocol || "",
    resumed: String(s.isSessionReused()),
    client: o.mode === "server" && peer && peer.subject ? peer.subject.CN : "",
    exported: s.exportKeyingMaterial(32, label).toString("hex"),
  });
}

function serve() {
  const c = context();
  c.requestCert = c.rejectUnauthorized = o.demand;
  const server = tls.createServer(c, (s) => {
    seen(s);
    s.on("error", (e) => say({ end: e.code }));
    s.on("end", () => say({ end: "clean" }));
    s.pipe(s);
  });
  server.on("tlsClientError", (e) => say({ end: e.code }));
  server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function rounds(s, payload) {
  let waiting;
  let hash = crypto.createHash("sha256");
  let n = 0;
  s.on("data", (b) => {
    hash.update(b);
    n += b.length;
    if (n < payload.length) return;
    say({ hash: hash.digest("hex") });
    hash = crypto.createHash("sha256");
    n = 0;
    waiting();
  });
  for (let i = 0; i < o.rounds; i++) {
    const back = new Promise((resolve) => (waiting = resolve));
    s.write(payload);
    await back;
  }
}

async function visit(payload, session) {
  const c = context();
  const s = tls.connect(Object.assign(c, { host: "127.0.0.1", port: o.port, servername: o.name, session }));
  let ticket;
  s.on("session", (t) => (ticket = t));
  s.on("error", (e) => {
    say({ end: e.code });
    process.exit(1);
  });
  await new Promise((resolve) => s.on("secureConnect", resolve));
  seen(s);
  await rounds(s, payload);
  await lines.next();
  const closed = new Promise((resolve) => s.on("close", resolve));
  s.end();
  await closed;
  say({ end: "clean" });
  return ticket;
}

async function connect() {
  const payload = fs.readFileSync(o.payload);
  let session;
  for (let i = 0; i < o.visits; i++) session = await visit(payload, session);
  process.exit(0);
}

if (o.mode === "server") serve();
else connect();
