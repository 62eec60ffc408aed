//! Every primitive by every candidate in one run: `cargo bench -p coracle-native-crypto`, with words after `--` to run
//! only the rows that contain one of them.
//!
//! A cell is the least of many short batches, the candidates' batches taking turns, so that what else the machine does
//! weighs on all alike. The last column is what [`NativeCrypto`] takes of [`RustCrypto`]'s time.
//!
//! aws-lc-rs was measured too, and is left out because it builds for minutes: with a new key as fast as ring to a few
//! percent in both ciphers, 1.3 times graviola's time for an X25519 agreement, and not faster in SHA-256.

#![allow(clippy::unwrap_used)] // a failure ends the bench

use std::{hint::black_box, time::Instant};

use coracle_core::crypto::{Crypto, RustCrypto, Secret, SecretKey};
use coracle_native_crypto::NativeCrypto;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Rounds of batches a candidate.
const ROUNDS: usize = 400;
/// About how long a batch takes, in nanoseconds.
const BATCH: u128 = 50_000;

type Work<'a> = Box<dyn FnMut() + 'a>;

/// One candidate of a row: its work, and the least time of one.
struct Candidate<'a> {
    name: &'static str,
    work: Work<'a>,
    batch: u32,
    least: f64,
}

fn candidate<'a>(name: &'static str, work: impl FnMut() + 'a) -> Candidate<'a> {
    Candidate { name, work: Box::new(work), batch: 1, least: f64::INFINITY }
}

impl Candidate<'_> {
    fn run(&mut self) -> u128 {
        let start = Instant::now();
        for _ in 0..self.batch {
            (self.work)();
        }
        let took = start.elapsed().as_nanos();
        self.least = self.least.min(took as f64 / f64::from(self.batch));
        took
    }
}

struct Table {
    filters: Vec<String>,
}

impl Table {
    fn row(&self, operation: &str, mut candidates: Vec<Candidate<'_>>) {
        if !self.filters.is_empty() && !self.filters.iter().any(|filter| operation.contains(filter)) {
            return;
        }
        for candidate in &mut candidates {
            while candidate.run() < BATCH {
                candidate.batch *= 2;
            }
        }
        for _ in 0..ROUNDS {
            for candidate in &mut candidates {
                candidate.run();
            }
        }
        let least = |name| candidates.iter().find(|c| c.name == name).map(|c| c.least);
        let of = |name| least(name).map_or(String::from("-"), |ns| format!("{ns:.0}"));
        let ratio = least("native").zip(least("RustCrypto")).map(|(native, rust)| native / rust);
        println!(
            "| {operation} | {} | {} | {} | {} | {:.2} |",
            of("RustCrypto"),
            of("native"),
            of("graviola"),
            of("ring"),
            ratio.unwrap_or(f64::NAN)
        );
    }
}

/// Rows that both implementations of the trait have, and nobody else.
macro_rules! both {
    ($table:expr, $operation:expr, $native:expr, |$crypto:ident| $work:expr $(, $other:expr)*) => {{
        let rust = {
            let $crypto = &RustCrypto;
            candidate("RustCrypto", move || { black_box($work); })
        };
        let native = {
            let $crypto = $native;
            candidate("native", move || { black_box($work); })
        };
        $table.row($operation, vec![rust, native $(, $other)*]);
    }};
}

fn main() {
    // Cargo passes `--bench`.
    let filters = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let table = Table { filters };
    let native = &NativeCrypto::new();
    println!("native: {}; nanoseconds\n", native.libraries());
    println!("| operation | RustCrypto | native | graviola | ring | native / RustCrypto |");
    println!("|---|---|---|---|---|---|");
    curve(&table, native);
    x25519(&table, native);
    for len in [40, 100, 300, 1_100] {
        gcm(&table, native, len);
    }
    for len in [0, 32, 100, 1_024, 4_096, 16_384, 65_519] {
        chacha(&table, native, len);
    }
    hashes(&table, native);
}

fn curve(table: &Table, native: &NativeCrypto) {
    let secret = &SecretKey::from_bytes(&[7; 32]).unwrap();
    let public = &RustCrypto.public_key(secret);
    let compressed = &public.compressed();
    let (digest, signature) = (&[9; 32], &RustCrypto.sign(secret, &[9; 32]));
    both!(table, "secp256k1 public key", native, |c| c.public_key(black_box(secret)));
    both!(table, "secp256k1 decompress", native, |c| c.decompress(black_box(compressed)));
    both!(table, "ECDSA sign", native, |c| c.sign(black_box(secret), digest));
    both!(table, "ECDSA verify", native, |c| c.verify(black_box(public), digest, signature));
    both!(table, "secp256k1 ECDH", native, |c| c.ecdh(black_box(secret), public));
}

fn x25519(table: &Table, native: &NativeCrypto) {
    let secret = &Secret::new([7; 32]);
    let public = &RustCrypto.x25519_public(&Secret::new([3; 32]));
    both!(table, "X25519 public key", native, |c| c.x25519_public(black_box(secret)));
    both!(table, "X25519 agreement", native, |c| c.x25519(black_box(secret), public));
}

fn gcm(table: &Table, native: &NativeCrypto, len: usize) {
    let (bytes, nonce, ad) = (&[5; 16], &[1; 12], &[0; 71]);
    let secret = &Secret::new(*bytes);
    let buffer = || vec![0; len];
    let graviola = {
        let (mut buf, mut tag) = (buffer(), [0; 16]);
        candidate("graviola", move || {
            graviola::aead::AesGcm::new(black_box(bytes)).encrypt(nonce, ad, &mut buf, &mut tag)
        })
    };
    let mut buf = buffer();
    let rust = candidate("RustCrypto", move || {
        black_box(RustCrypto.aes_gcm_seal(&RustCrypto.aes_gcm_key(black_box(secret)), nonce, ad, &mut buf));
    });
    let mut buf = buffer();
    let ours = candidate("native", move || {
        black_box(native.aes_gcm_seal(&native.aes_gcm_key(black_box(secret)), nonce, ad, &mut buf));
    });
    let ring_key = |bytes| LessSafeKey::new(UnboundKey::new(&AES_128_GCM, bytes).unwrap());
    let ring_seal = |key: &LessSafeKey, buf: &mut [u8]| {
        key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(ad), buf).unwrap()
    };
    let mut buf = buffer();
    let ring = candidate("ring", move || {
        let _ = black_box(ring_seal(&ring_key(black_box(bytes)), &mut buf));
    });
    table.row(&format!("AES-128-GCM seal {len} B, new key"), vec![rust, ours, graviola, ring]);

    let kept = graviola::aead::AesGcm::new(bytes);
    let (mut buf, mut tag) = (buffer(), [0; 16]);
    let graviola = candidate("graviola", move || black_box(&kept).encrypt(nonce, ad, &mut buf, &mut tag));
    let (mut buf, kept) = (buffer(), RustCrypto.aes_gcm_key(secret));
    let rust = candidate("RustCrypto", move || {
        black_box(RustCrypto.aes_gcm_seal(black_box(&kept), nonce, ad, &mut buf));
    });
    let (mut buf, kept) = (buffer(), native.aes_gcm_key(secret));
    let ours = candidate("native", move || {
        black_box(native.aes_gcm_seal(black_box(&kept), nonce, ad, &mut buf));
    });
    let (mut buf, kept) = (buffer(), ring_key(bytes));
    let ring = candidate("ring", move || {
        let _ = black_box(ring_seal(black_box(&kept), &mut buf));
    });
    table.row(&format!("AES-128-GCM seal {len} B, key kept"), vec![rust, ours, graviola, ring]);

    let mut sealed = buffer();
    let tag = &RustCrypto.aes_gcm_seal(&RustCrypto.aes_gcm_key(secret), nonce, ad, &mut sealed);
    let (sealed, mut buf, kept) = (&sealed, buffer(), RustCrypto.aes_gcm_key(secret));
    let rust = candidate("RustCrypto", move || {
        buf.copy_from_slice(sealed);
        black_box(RustCrypto.aes_gcm_open(black_box(&kept), nonce, ad, &mut buf, tag)).unwrap();
    });
    let (mut buf, kept) = (buffer(), native.aes_gcm_key(secret));
    let ours = candidate("native", move || {
        buf.copy_from_slice(sealed);
        black_box(native.aes_gcm_open(black_box(&kept), nonce, ad, &mut buf, tag)).unwrap();
    });
    table.row(&format!("AES-128-GCM open {len} B, key kept"), vec![rust, ours]);
}

fn chacha(table: &Table, native: &NativeCrypto, len: usize) {
    let (bytes, nonce, ad) = (&[5; 32], &[1; 12], &[0; 32]);
    let secret = &Secret::new(*bytes);
    let buffer = || vec![0; len];
    let graviola = {
        let (mut buf, mut tag) = (buffer(), [0; 16]);
        let new = || graviola::aead::ChaCha20Poly1305::new(*black_box(bytes));
        candidate("graviola", move || new().encrypt(nonce, ad, &mut buf, &mut tag))
    };
    let mut buf = buffer();
    let rust = candidate("RustCrypto", move || {
        black_box(RustCrypto.chacha_seal(black_box(secret), nonce, ad, &mut buf));
    });
    let mut buf = buffer();
    let ours = candidate("native", move || {
        black_box(native.chacha_seal(black_box(secret), nonce, ad, &mut buf));
    });
    table.row(&format!("ChaCha20-Poly1305 seal {len} B"), vec![rust, ours, graviola]);

    let mut sealed = buffer();
    let tag = &RustCrypto.chacha_seal(secret, nonce, ad, &mut sealed);
    let (sealed, mut buf) = (&sealed, buffer());
    let rust = candidate("RustCrypto", move || {
        buf.copy_from_slice(sealed);
        black_box(RustCrypto.chacha_open(black_box(secret), nonce, ad, &mut buf, tag)).unwrap();
    });
    let mut buf = buffer();
    let ours = candidate("native", move || {
        buf.copy_from_slice(sealed);
        black_box(native.chacha_open(black_box(secret), nonce, ad, &mut buf, tag)).unwrap();
    });
    table.row(&format!("ChaCha20-Poly1305 open {len} B"), vec![rust, ours]);
}

fn hashes(table: &Table, native: &NativeCrypto) {
    use graviola::hashing::Hash as _;
    for len in [64, 300, 1_024] {
        let text = &vec![1_u8; len][..];
        both!(
            table,
            &format!("SHA-256 of {len} B"),
            native,
            |c| c.sha256(&[black_box(text)]),
            candidate("graviola", move || {
                black_box(graviola::hashing::Sha256::hash(black_box(text)));
            }),
            candidate("ring", move || {
                black_box(ring::digest::digest(&ring::digest::SHA256, black_box(text)));
            })
        );
    }
    both!(table, "Keccak-256 of 64 B", native, |c| c.keccak256(&[black_box(&[1; 64])]));
    let mut out = [0; 32];
    both!(table, "HKDF-SHA-256 to 32 B", native, |c| {
        c.hkdf_sha256(black_box(&[1; 63]), &[2; 33], &[&[3; 90]], &mut out);
    });
    let mut masked = [0; 55];
    both!(table, "AES-128-CTR of 55 B, new key", native, |c| {
        c.aes_ctr(&c.aes_ctr_key(black_box(&[1; 16])), &[2; 16], 0, &mut masked);
    });
}
