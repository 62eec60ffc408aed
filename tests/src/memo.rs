//! Results of public-key cryptography, remembered: in a simulation both ends are in one process, and most of its
//! time would go into computing things twice.
//!
//! Everything here is a pure function of its arguments, so that nothing in a run depends on what is remembered:
//! signing (deterministic by RFC 6979), checking a signature (of which one made here is known to be right), and
//! Diffie-Hellman (of which both sides get the same).

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;

use coracle_core::crypto::{Crypto as _, PublicKey, RustCrypto, Secret, SecretKey, Signature};

/// Most results of one kind; then all are forgotten.
const MOST: usize = 50_000;

/// Public key, digest, signature.
type Checked = ([u8; 64], [u8; 32], [u8; 64]);
/// What two keys share, by both public ones; `None` where there is no such thing.
type Shared<const KEY: usize, const SECRET: usize> = HashMap<([u8; KEY], [u8; KEY]), Option<[u8; SECRET]>>;

#[derive(Default)]
struct Memo {
    public_keys: HashMap<[u8; 32], PublicKey>,
    signatures: HashMap<([u8; 32], [u8; 32]), Signature>,
    verified: HashMap<Checked, bool>,
    ecdh: Shared<64, 33>,
    x_public: HashMap<[u8; 32], [u8; 32]>,
    x25519: Shared<32, 32>,
}

thread_local! {
    static MEMO: RefCell<Memo> = RefCell::default();
}

fn remember<K: Hash + Eq, V: Copy>(
    table: fn(&mut Memo) -> &mut HashMap<K, V>,
    key: K,
    compute: impl FnOnce() -> V,
) -> V {
    if let Some(known) = MEMO.with_borrow_mut(|memo| table(memo).get(&key).copied()) {
        return known;
    }
    let value = compute();
    MEMO.with_borrow_mut(|memo| {
        let table = table(memo);
        if table.len() >= MOST {
            table.clear();
        }
        table.insert(key, value);
    });
    value
}

pub(crate) fn public_key(secret: &SecretKey) -> PublicKey {
    remember(|memo| &mut memo.public_keys, *secret.expose(), || RustCrypto.public_key(secret))
}

pub(crate) fn sign(secret: &SecretKey, digest: &[u8; 32]) -> Signature {
    let sign = || RustCrypto.sign(secret, digest);
    let signature = remember(|memo| &mut memo.signatures, (*secret.expose(), *digest), sign);
    let public = public_key(secret);
    remember(|memo| &mut memo.verified, (*public.xy(), *digest, signature.0), || true);
    signature
}

pub(crate) fn verify(public: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
    let verify = || RustCrypto.verify(public, digest, signature);
    remember(|memo| &mut memo.verified, (*public.xy(), *digest, signature.0), verify)
}

pub(crate) fn ecdh(secret: &SecretKey, public: &PublicKey) -> Option<Secret<33>> {
    let own = *public_key(secret).xy();
    let compute = || RustCrypto.ecdh(secret, public).map(|shared| *shared.expose());
    remember(|memo| &mut memo.ecdh, both(own, *public.xy()), compute).map(Secret::new)
}

pub(crate) fn x25519_public(secret: &Secret<32>) -> [u8; 32] {
    remember(|memo| &mut memo.x_public, *secret.expose(), || RustCrypto.x25519_public(secret))
}

pub(crate) fn x25519(secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
    let own = x25519_public(secret);
    let compute = || RustCrypto.x25519(secret, public).map(|shared| *shared.expose());
    remember(|memo| &mut memo.x25519, both(own, *public), compute).map(Secret::new)
}

/// Both sides' name for what they share.
fn both<T: Ord>(a: T, b: T) -> (T, T) {
    if a < b { (a, b) } else { (b, a) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_is_computed() {
        let [a, b] = [3, 4].map(|n| SecretKey::from_bytes(&[n; 32]).unwrap());
        let (public_a, public_b) = (public_key(&a), public_key(&b));
        let signature = sign(&a, &[7; 32]);
        assert_eq!(signature, RustCrypto.sign(&a, &[7; 32]));
        assert!(
            verify(&public_a, &[7; 32], &signature) && RustCrypto.verify(&public_a, &[7; 32], &signature)
        );
        assert!(!verify(&public_b, &[7; 32], &signature) && !verify(&public_a, &[8; 32], &signature));
        for _ in 0..2 {
            let (left, right) = (ecdh(&a, &public_b).unwrap(), ecdh(&b, &public_a).unwrap());
            assert_eq!(left.expose(), right.expose());
            assert_eq!(right.expose(), RustCrypto.ecdh(&b, &public_a).unwrap().expose());
        }
        let [x, y] = [5, 6].map(|n| Secret::new([n; 32]));
        let (public_x, public_y) = (x25519_public(&x), x25519_public(&y));
        assert_eq!(x25519(&x, &public_y).unwrap().expose(), x25519(&y, &public_x).unwrap().expose());
        assert_eq!(
            x25519(&y, &public_x).unwrap().expose(),
            RustCrypto.x25519(&y, &public_x).unwrap().expose()
        );
        assert!(x25519(&x, &[0; 32]).is_none());
    }
}
