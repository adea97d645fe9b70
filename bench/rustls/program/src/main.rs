//! Plays cases of package bench with rustls 0.20, in memory. What its arguments,
//! input and output are, package bench/beside says.
//!
//! Time is CPU time of the process. There is one thread, and the ends of a
//! connection run in turn.

use std::convert::TryFrom;
use std::io::{self, BufRead, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::{
    ClientSessionMemoryCache, NoClientSessionStorage, ServerCertVerified, ServerCertVerifier,
    WebPkiVerifier,
};
use rustls::server::{AllowAnyAuthenticatedClient, NoServerSessionStorage};
use rustls::{
    cipher_suite, kx_group, version, Certificate, ClientConfig, ClientConnection, PrivateKey,
    RootCertStore, ServerConfig, ServerConnection, ServerName, SupportedCipherSuite,
    SupportedKxGroup, SupportedProtocolVersion, Ticketer,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const NAME: &str = "bench.example";
const RECORD: usize = 16384;

/// How many records are written before they are read, as in bench/bulk.go.
const BATCH: u64 = ((1 << 20) / (RECORD + 22)) as u64;

#[derive(Clone, Copy, PartialEq)]
enum What {
    Handshake,
    Write,
    Read,
}

struct Kind {
    name: &'static str,
    what: What,
    version: &'static SupportedProtocolVersion,
    group: &'static SupportedKxGroup,
    suite: SupportedCipherSuite,
    mutual: bool,
    resume: bool,
}

fn kinds() -> Vec<Kind> {
    let v13 = &version::TLS13;
    let v12 = &version::TLS12;
    let aes13 = cipher_suite::TLS13_AES_128_GCM_SHA256;
    let aes12 = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let chacha13 = cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    let kind = |name, what, version, suite, mutual, resume| {
        let group = &kx_group::X25519;
        Kind { name, what, version, group, suite, mutual, resume }
    };
    let mut kinds = vec![
        kind("HS13Full/x25519-p256", What::Handshake, v13, aes13, false, false),
        kind("HS13Full/p256-p256", What::Handshake, v13, aes13, false, false),
        kind("HS13Mutual/x25519-p256", What::Handshake, v13, aes13, true, false),
        kind("HS13Resume/x25519", What::Handshake, v13, aes13, false, true),
        kind("HS12Full/x25519-p256", What::Handshake, v12, aes12, false, false),
        kind("HS12Mutual/x25519-p256", What::Handshake, v12, aes12, true, false),
        kind("HS12Resume", What::Handshake, v12, aes12, false, true),
        kind("BulkWrite16K/13-aes128", What::Write, v13, aes13, false, false),
        kind("BulkRead16K/13-aes128", What::Read, v13, aes13, false, false),
        kind("BulkWrite16K/13-chacha20", What::Write, v13, chacha13, false, false),
        kind("BulkRead16K/13-chacha20", What::Read, v13, chacha13, false, false),
        kind("BulkWrite16K/12-aes128", What::Write, v12, aes12, false, false),
        kind("BulkRead16K/12-aes128", What::Read, v12, aes12, false, false),
    ];
    kinds[1].group = &kx_group::SECP256R1;
    kinds
}

/// What rustls does, counted: a resumed handshake verifies nothing.
struct Verifier {
    inner: WebPkiVerifier,
    calls: Arc<AtomicU64>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &Certificate,
        intermediates: &[Certificate],
        server_name: &ServerName,
        scts: &mut dyn Iterator<Item = &[u8]>,
        ocsp_response: &[u8],
        now: SystemTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, scts, ocsp_response, now)
    }
}

struct Identity {
    chain: Vec<Certificate>,
    key: PrivateKey,
    roots: RootCertStore,
}

fn read_identity(files: &[String]) -> Result<Identity> {
    let text = |i: usize| std::fs::read(&files[i]);
    let chain = rustls_pemfile::certs(&mut &text(0)?[..])?;
    let mut keys = rustls_pemfile::pkcs8_private_keys(&mut &text(1)?[..])?;
    let mut roots = RootCertStore::empty();
    for root in rustls_pemfile::certs(&mut &text(2)?[..])? {
        roots.add(&Certificate(root))?;
    }
    Ok(Identity {
        chain: chain.into_iter().map(Certificate).collect(),
        key: PrivateKey(keys.pop().ok_or("no key")?),
        roots,
    })
}

/// The time that each end took.
#[derive(Default)]
struct Meter {
    on: bool,
    last: f64,
    client: f64,
    server: f64,
}

impl Meter {
    fn since(&mut self) -> f64 {
        if !self.on {
            return 0.0;
        }
        let now = cpu_ns();
        now - std::mem::replace(&mut self.last, now)
    }

    fn client(&mut self) {
        self.client += self.since();
    }

    fn server(&mut self) {
        self.server += self.since();
    }
}

fn cpu_ns() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: t is there for the time of the call.
    let r = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    assert!(r == 0, "clock_gettime");
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// A kind, with what playing it needs.
struct Player {
    kind: Kind,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: ServerName,
    verified: Arc<AtomicU64>,
    has_session: bool,
    bulk: Option<(ClientConnection, ServerConnection)>,
}

impl Player {
    fn new(kind: Kind, id: &Identity) -> Result<Player> {
        let verified = Arc::new(AtomicU64::new(0));
        Ok(Player {
            client: Arc::new(client_config(&kind, id, verified.clone())?),
            server: Arc::new(server_config(&kind, id)?),
            name: ServerName::try_from(NAME)?,
            verified,
            has_session: false,
            bulk: None,
            kind,
        })
    }

    /// Makes both ends, and does the handshake, an end at a time.
    fn connect(&self, m: &mut Meter) -> Result<(ClientConnection, ServerConnection)> {
        let before = self.verified.load(Ordering::Relaxed);
        m.since();
        let mut client = ClientConnection::new(self.client.clone(), self.name.clone())?;
        m.client();
        let mut server = ServerConnection::new(self.server.clone())?;
        m.server();
        let mut wire = Vec::new();
        while client.is_handshaking() || server.is_handshaking() || client.wants_write() {
            while client.wants_write() {
                client.write_tls(&mut wire)?;
            }
            m.client();
            let stuck = wire.is_empty();
            feed_server(&mut server, &mut wire)?;
            while server.wants_write() {
                server.write_tls(&mut wire)?;
            }
            m.server();
            if stuck && wire.is_empty() {
                return Err("both ends wait for each other".into());
            }
            feed_client(&mut client, &mut wire)?;
        }
        m.client();
        let verified = self.verified.load(Ordering::Relaxed) - before;
        if verified != u64::from(!self.has_session) {
            return Err(if self.has_session { "not resumed" } else { "resumed" }.into());
        }
        if self.kind.mutual && server.peer_certificates().is_none() {
            return Err("client not verified".into());
        }
        Ok((client, server))
    }

    /// Does what bench/handshake.go does: a handshake, and a byte from the server
    /// to the client, which brings a ticket along.
    fn handshake(&mut self, m: &mut Meter) -> Result<()> {
        let (mut client, mut server) = self.connect(m)?;
        let (mut wire, mut byte) = (Vec::new(), [1]);
        m.since();
        server.writer().write_all(&byte)?;
        while server.wants_write() {
            server.write_tls(&mut wire)?;
        }
        m.server();
        feed_client(&mut client, &mut wire)?;
        client.reader().read_exact(&mut byte)?;
        drop(client);
        m.client();
        drop(server);
        m.server();
        self.has_session = self.kind.resume;
        Ok(())
    }

    /// Measures both ends together without asking for the time in between, and
    /// then each end alone over a quarter as many more.
    fn play_handshakes(&mut self, n: u64) -> Result<String> {
        let mut none = Meter::default();
        if self.kind.resume && !self.has_session {
            self.handshake(&mut none)?;
        }
        let start = cpu_ns();
        for _ in 0..n {
            self.handshake(&mut none)?;
        }
        let took = (cpu_ns() - start) / n as f64;
        let apart = n / 4 + 1;
        let mut m = Meter { on: true, ..Meter::default() };
        for _ in 0..apart {
            self.handshake(&mut m)?;
        }
        let (client, server) = (m.client / apart as f64, m.server / apart as f64);
        Ok(format!("{took:.1} cpu-ns/op {client:.1} client-cpu-ns/op {server:.1} server-cpu-ns/op"))
    }

    /// Writes to nobody, or reads what the client has written before.
    fn play_records(&mut self, n: u64) -> Result<String> {
        if self.bulk.is_none() {
            self.bulk = Some(self.connect(&mut Meter::default())?);
        }
        let (client, server) = self.bulk.as_mut().ok_or("no connection")?;
        let mut record = vec![1; RECORD];
        let (mut took, mut left) = (0.0, n);
        let mut wire = Vec::new();
        while left > 0 {
            let batch = left.min(BATCH);
            let mut start = cpu_ns();
            if self.kind.what == What::Write {
                for _ in 0..batch {
                    server.writer().write_all(&record)?;
                    while server.wants_write() {
                        server.write_tls(&mut io::sink())?;
                    }
                }
            } else {
                wire.clear();
                for _ in 0..batch {
                    client.writer().write_all(&record)?;
                    while client.wants_write() {
                        client.write_tls(&mut wire)?;
                    }
                }
                start = cpu_ns();
                read_records(server, &wire, &mut record)?;
            }
            took += cpu_ns() - start;
            left -= batch;
        }
        Ok(format!("{:.1} cpu-ns/op", took / n as f64))
    }

    fn play(&mut self, n: u64) -> Result<String> {
        match self.kind.what {
            _ if n == 0 => Err("no operations".into()),
            What::Handshake => self.play_handshakes(n),
            What::Write | What::Read => self.play_records(n),
        }
    }
}

/// Reads all records of a batch.
fn read_records(server: &mut ServerConnection, mut wire: &[u8], record: &mut [u8]) -> Result<()> {
    while !wire.is_empty() {
        server.read_tls(&mut wire)?;
        let mut left = server.process_new_packets()?.plaintext_bytes_to_read();
        while left > 0 {
            left -= server.reader().read(record)?;
        }
    }
    Ok(())
}

fn feed_client(client: &mut ClientConnection, wire: &mut Vec<u8>) -> Result<()> {
    let mut rest = &wire[..];
    while !rest.is_empty() {
        client.read_tls(&mut rest)?;
        client.process_new_packets()?;
    }
    wire.clear();
    Ok(())
}

fn feed_server(server: &mut ServerConnection, wire: &mut Vec<u8>) -> Result<()> {
    let mut rest = &wire[..];
    while !rest.is_empty() {
        server.read_tls(&mut rest)?;
        server.process_new_packets()?;
    }
    wire.clear();
    Ok(())
}

fn client_config(kind: &Kind, id: &Identity, calls: Arc<AtomicU64>) -> Result<ClientConfig> {
    let inner = WebPkiVerifier::new(id.roots.clone(), None);
    let builder = ClientConfig::builder()
        .with_cipher_suites(&[kind.suite])
        .with_kx_groups(&[kind.group])
        .with_protocol_versions(&[kind.version])?
        .with_custom_certificate_verifier(Arc::new(Verifier { inner, calls }));
    let mut config = if kind.mutual {
        builder.with_single_cert(id.chain.clone(), id.key.clone())?
    } else {
        builder.with_no_client_auth()
    };
    config.enable_tickets = kind.resume;
    config.session_storage = if kind.resume {
        ClientSessionMemoryCache::new(64)
    } else {
        Arc::new(NoClientSessionStorage {})
    };
    Ok(config)
}

fn server_config(kind: &Kind, id: &Identity) -> Result<ServerConfig> {
    let builder = ServerConfig::builder()
        .with_cipher_suites(&[kind.suite])
        .with_kx_groups(&[kind.group])
        .with_protocol_versions(&[kind.version])?;
    let builder = if kind.mutual {
        builder.with_client_cert_verifier(AllowAnyAuthenticatedClient::new(id.roots.clone()))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(id.chain.clone(), id.key.clone())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if kind.resume {
        config.ticketer = Ticketer::new()?;
    }
    Ok(config)
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.len() != 3 {
        return Err("arguments: CERTIFICATE KEY ROOT".into());
    }
    let id = read_identity(&args)?;
    let mut players = Vec::new();
    println!("version rustls 0.20.8 with ring 0.16.20");
    for kind in kinds() {
        println!("can {}", kind.name);
        players.push(Player::new(kind, &id)?);
    }
    for name in ["HS13Full/mlkem768-p256", "HS13Resume/mlkem768"] {
        println!("cannot {name} it has no group X25519MLKEM768");
    }
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (name, n) = line.split_once(' ').ok_or("no number")?;
        let player = players.iter_mut().find(|p| p.kind.name == name).ok_or("no such case")?;
        println!("{}", player.play(n.parse()?)?);
    }
    Ok(())
}

fn main() {
    if let Err(err) = run() {
        println!("error {err}");
        std::process::exit(1);
    }
}
