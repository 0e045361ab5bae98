#!/usr/bin/env bash
# rustls-tls12-record-limit-swallows-writes
#
# guess:    When a TLS 1.2 AES-GCM connection has used up its keys (2^24 records),
#           rustls reports an error from write().
# truth:    It queues close_notify by itself, and writer().write(buf) goes on
#           returning Ok(buf.len()) while the bytes never reach the peer. flush()
#           and process_new_packets() are Ok too, so nothing in the API tells (only
#           a log line, with the feature "logging"). The peer sees a clean end of
#           the stream, as if all had been said. A single write that crosses the
#           limit is dropped whole, also the part that would have fitted. TLS 1.3
#           renews its keys (KeyUpdate) and loses nothing.
# version:  rustls 0.23.46 with ring
# source:   rustls src/common_state.rs send_appdata_encrypt(), which ignores in its
#           return value that check_pre_encrypt_action() refused; src/record_layer.rs
#           pre_encrypt_action(); limits in src/crypto/ring/tls12.rs (2^24 for
#           AES-GCM, none for ChaCha20-Poly1305); RFC 8446 sections 5.5 and 4.6.3.
#           By its source, the unbuffered API (write_plaintext) does return an
#           error, EncryptError::EncryptExhausted.
# note:     The limit is lowered from 2^24 to 64 only to make this quick: the cipher
#           suites used are copies with another confidentiality_limit. FULL=1 also
#           reaches the real limit with the library's own suite (one byte for each
#           record, up to some minutes): seen, the same outcome.
# date:     2026-11-29
# matters:  2^24 records are 256 GiB in full records, but far less in small ones:
#           a server that writes short messages on a long-lived TLS 1.2 connection
#           gets there, counts bytes as sent that are lost, and the client takes the
#           cut for the end.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"

cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "limit"
version = "0.0.0"
edition = "2021"

[dependencies]
rustls = { version = "=0.23.46", default-features = false, features = ["std", "tls12", "ring"] }
rcgen = { version = "=0.14.10", default-features = false, features = ["crypto", "ring"] }

[profile.dev]
opt-level = 1
debug = false

[workspace]
TOML

cat > "$dir/src/main.rs" <<'RS'
use rustls::crypto::ring::{self, cipher_suite};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{
    CipherSuiteCommon, ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    ServerConnection, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

type Res<T> = Result<T, Box<dyn Error>>;

const LIMIT: u64 = 64;
/// The most plaintext in a record.
const RECORD: usize = 100;

/// A copy of `suite` with another limit; everything else stays.
fn with_limit(suite: SupportedCipherSuite, limit: u64) -> SupportedCipherSuite {
    let common = |c: &CipherSuiteCommon| CipherSuiteCommon {
        suite: c.suite,
        hash_provider: c.hash_provider,
        confidentiality_limit: limit,
    };
    match suite {
        SupportedCipherSuite::Tls12(s) => SupportedCipherSuite::Tls12(Box::leak(Box::new(
            Tls12CipherSuite { common: common(&s.common), sign: s.sign, ..*s },
        ))),
        SupportedCipherSuite::Tls13(s) => SupportedCipherSuite::Tls13(Box::leak(Box::new(
            Tls13CipherSuite { common: common(&s.common), ..*s },
        ))),
    }
}

/// A server and a client joined in memory.
struct Joined {
    server: ServerConnection,
    client: ClientConnection,
}

impl Joined {
    fn new(suite: SupportedCipherSuite) -> Res<Self> {
        let provider = Arc::new(rustls::crypto::CryptoProvider {
            cipher_suites: vec![suite],
            ..ring::default_provider()
        });
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()])?;
        let cert: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(cert.clone())?;
        let versions = [suite.version()];
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)?;
        server.max_fragment_size = Some(RECORD + 5); // counts the record header
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut joined = Joined {
            server: ServerConnection::new(Arc::new(server))?,
            client: ClientConnection::new(Arc::new(client), "localhost".try_into()?)?,
        };
        for _ in 0..10 {
            joined.carry()?;
        }
        if joined.server.is_handshaking() || joined.client.is_handshaking() {
            return Err("the handshake did not end".into());
        }
        Ok(joined)
    }

    /// Carries everything queued across, both ways.
    fn carry(&mut self) -> Res<()> {
        let mut wire = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut wire)?;
        }
        let mut rest = &wire[..];
        while !rest.is_empty() && self.client.read_tls(&mut rest)? > 0 {
            self.client.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire)?;
        }
        let mut rest = &wire[..];
        while !rest.is_empty() && self.server.read_tls(&mut rest)? > 0 {
            self.server.process_new_packets()?;
        }
        Ok(())
    }
}

/// `writes` writes of `size` bytes by the server. Says: Ok by write, received by
/// the client, writes that were not Ok(size) and other errors, how the stream ended.
fn run(suite: SupportedCipherSuite, writes: u64, size: usize) -> Res<(u64, u64, u64, &'static str)> {
    let mut joined = Joined::new(suite)?;
    let message = vec![b'x'; size];
    let mut buffer = vec![0; 1 << 16];
    let (mut written, mut received, mut refused, mut end) = (0, 0, 0, "open");
    for n in 1..=writes {
        match joined.server.writer().write(&message) {
            Ok(len) => {
                written += len as u64;
                refused += u64::from(len != size);
            }
            Err(_) => refused += 1,
        }
        refused += u64::from(joined.server.writer().flush().is_err());
        if n % 16 != 0 && n != writes {
            continue;
        }
        joined.carry()?;
        for _ in 0..1000 {
            match joined.client.reader().read(&mut buffer) {
                Ok(0) => {
                    end = "closed cleanly";
                    break;
                }
                Ok(len) => received += len as u64,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.into()),
            }
        }
    }
    refused += u64::from(joined.server.process_new_packets().is_err());
    Ok((written, received, refused, end))
}

fn main() -> Res<()> {
    let tls12 = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let tls13 = cipher_suite::TLS13_AES_128_GCM_SHA256;
    let (low12, low13) = (with_limit(tls12, LIMIT), with_limit(tls13, LIMIT));
    // The first record under a TLS 1.2 key is Finished, so LIMIT - 1 remain.
    let room = LIMIT - 1;
    let (open, closed) = ("open", "closed cleanly");
    let (fits, crosses) = (63 * RECORD, 64 * RECORD);
    let mut cases = vec![
        ("TLS 1.2, limit 64, 63 writes of 100 bytes", low12, room, 100, (6300, 6300, 0, open)),
        ("TLS 1.2, limit 64, 200 writes of 100 bytes", low12, 200, 100, (20000, 6300, 0, closed)),
        ("TLS 1.2, limit 64, 1 write of 63 records", low12, 1, fits, (6300, 6300, 0, open)),
        ("TLS 1.2, limit 64, 1 write of 64 records", low12, 1, crosses, (6400, 0, 0, closed)),
        ("TLS 1.2, limit 2^24, 200 writes of 100 bytes", tls12, 200, 100, (20000, 20000, 0, open)),
        ("TLS 1.3, limit 64, 200 writes of 100 bytes", low13, 200, 100, (20000, 20000, 0, open)),
    ];
    if std::env::var_os("FULL").is_some() {
        let sent = (1 << 24) + 1000;
        cases.push(("TLS 1.2, limit 2^24, 2^24 + 1000 writes of 1 byte", tls12, sent, 1, (sent, (1 << 24) - 1, 0, closed)));
    }
    let mut changed = false;
    for (name, suite, writes, size, expected) in cases {
        let seen = run(suite, writes, size)?;
        let (written, received, refused, end) = seen;
        println!("{name}: Ok for {written} bytes, {refused} errors or short writes; peer got {received}, its stream is {end}");
        if seen != expected {
            changed = true;
            println!("  different: expected {expected:?}, seen {seen:?}");
        }
    }
    println!("{}", if changed { "changed" } else { "unchanged" });
    std::process::exit(changed.into());
}
RS

cd "$dir"
timeout 1800 cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2 | sort
timeout 900 target/debug/limit
