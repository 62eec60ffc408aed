//! Keystores of validators' keys (EIP-2335, version 4): the key encrypted under a password. The key is derived by
//! PBKDF2 with HMAC-SHA-256, the cipher is AES-128 in counter mode, the checksum SHA-256.

use coracle_core::crypto::{Crypto, RustCrypto};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::bls::SecretKey;

/// Rounds of the key derivation that EIP-2335 shows, 2^18.
pub const ROUNDS: u32 = 262_144;

/// Rounds so few that a password protects nothing: for keys of tests only, of which there may be thousands.
pub const INSECURE_ROUNDS: u32 = 16;

/// The most rounds that are computed for a file from elsewhere, about a minute's worth.
pub const MAX_ROUNDS: u32 = 16_777_216;

/// What is random in a keystore. It must be fresh for each.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The salt of the key derivation.
    pub salt: [u8; 32],
    /// The initial counter of the cipher.
    pub iv: [u8; 16],
    /// The name of the keystore, a UUID.
    pub uuid: [u8; 16],
}

/// Why a keystore could not be opened. It says nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// Not JSON of a keystore.
    #[error("not a keystore: {0}")]
    Json(String),
    /// Another version, or functions that are not supported.
    #[error("a keystore of another sort: {0}")]
    Unsupported(String),
    /// The password is another, or the file is damaged.
    #[error("the password does not open it, or it is damaged")]
    Password,
    /// It opened, and what is in it is no key.
    #[error("what is in it is not a BLS secret key")]
    NotAKey,
}

#[derive(Serialize, Deserialize)]
struct Keystore {
    crypto: Sections,
    description: String,
    pubkey: String,
    path: String,
    uuid: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Sections {
    kdf: Module<Kdf>,
    checksum: Module<Nothing>,
    cipher: Module<Cipher>,
}

#[derive(Serialize, Deserialize)]
struct Module<P> {
    function: String,
    params: P,
    message: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    dklen: u32,
    c: u32,
    prf: String,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct Nothing {}

#[derive(Serialize, Deserialize)]
struct Cipher {
    iv: String,
}

/// The keystore of `key` as JSON. The password is used as it is; EIP-2335 wants it in Unicode's form NFKD without
/// control characters, which ASCII is.
pub fn seal(key: &SecretKey, password: &str, description: &str, rounds: u32, fresh: &Fresh) -> String {
    let derived = derive(password, &fresh.salt, rounds);
    let mut message = key.expose();
    encrypt(&derived, &fresh.iv, &mut message);
    let module = |function: &str, message: &[u8]| (function.to_owned(), hex::encode(message));
    let (kdf, no_message) = module("pbkdf2", &[]);
    let (checksum, sum) = module("sha256", &checksum(&derived, &*message));
    let (cipher, encrypted) = module("aes-128-ctr", &*message);
    let params = Kdf { dklen: 32, c: rounds, prf: "hmac-sha256".to_owned(), salt: hex::encode(fresh.salt) };
    let keystore = Keystore {
        crypto: Sections {
            kdf: Module { function: kdf, params, message: no_message },
            checksum: Module { function: checksum, params: Nothing {}, message: sum },
            cipher: Module {
                function: cipher,
                params: Cipher { iv: hex::encode(fresh.iv) },
                message: encrypted,
            },
        },
        description: description.to_owned(),
        pubkey: hex::encode(key.public_key().to_bytes()),
        // A share is derived from no seed.
        path: String::new(),
        uuid: uuid(fresh.uuid),
        version: 4,
    };
    // Strings and numbers: there is nothing in it that JSON cannot hold.
    serde_json::to_string_pretty(&keystore).map(|text| text + "\n").unwrap_or_default()
}

/// The key in a keystore of the kind that [`seal`] makes.
///
/// # Errors
/// See [`KeystoreError`]. More than [`MAX_ROUNDS`] rounds are not tried.
pub fn open(json: &[u8], password: &str) -> Result<SecretKey, KeystoreError> {
    let keystore: Keystore =
        serde_json::from_slice(json).map_err(|error| KeystoreError::Json(error.to_string()))?;
    let Sections { kdf, checksum: sum, cipher } = &keystore.crypto;
    let functions = [kdf.function.as_str(), &kdf.params.prf, &sum.function, &cipher.function];
    if keystore.version != 4 || functions != ["pbkdf2", "hmac-sha256", "sha256", "aes-128-ctr"] {
        let found = format!("version {} with {}", keystore.version, functions.join(", "));
        return Err(KeystoreError::Unsupported(found.chars().take(200).collect()));
    }
    if kdf.params.dklen != 32 || kdf.params.c == 0 || kdf.params.c > MAX_ROUNDS {
        let found = format!("a derived key of {} bytes after {} rounds", kdf.params.dklen, kdf.params.c);
        return Err(KeystoreError::Unsupported(found));
    }
    let salt = decode("salt", &kdf.params.salt)?;
    let iv = decode("iv", &cipher.params.iv)?.try_into();
    let iv: [u8; 16] = iv.map_err(|_| KeystoreError::Json("the iv is not 16 bytes".to_owned()))?;
    let message = decode("cipher message", &cipher.message)?.try_into();
    let mut message: Zeroizing<[u8; 32]> =
        Zeroizing::new(message.map_err(|_| KeystoreError::Json("the secret is not 32 bytes".to_owned()))?);
    let derived = derive(password, &salt, kdf.params.c);
    if decode("checksum", &sum.message)? != checksum(&derived, &*message) {
        return Err(KeystoreError::Password);
    }
    encrypt(&derived, &iv, &mut message);
    SecretKey::from_bytes(&message).map_err(|_| KeystoreError::NotAKey)
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, KeystoreError> {
    hex::decode(text).map_err(|error| KeystoreError::Json(format!("the {what}: {error}")))
}

fn derive(password: &str, salt: &[u8], rounds: u32) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, rounds, &mut *out);
    out
}

/// Over the half of the derived key that the cipher does not use.
fn checksum(derived: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let (_, second) = derived.split_at(16);
    RustCrypto.sha256(&[second, message])
}

/// Encrypting is decrypting.
fn encrypt(derived: &[u8; 32], iv: &[u8; 16], message: &mut [u8; 32]) {
    if let Some(key) = derived.first_chunk::<16>() {
        RustCrypto.aes_ctr(&RustCrypto.aes_ctr_key(key), iv, 0, message);
    }
}

/// The text of a random UUID (RFC 9562, version 4).
pub(crate) fn uuid(mut bytes: [u8; 16]) -> String {
    let [.., sixth, _, eighth, _, _, _, _, _, _, _] = &mut bytes;
    *sixth = (*sixth & 0x0f) | 0x40;
    *eighth = (*eighth & 0x3f) | 0x80;
    let digits = hex::encode(bytes);
    let mut out = String::with_capacity(36);
    for (at, digit) in digits.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Fresh = Fresh { salt: [1; 32], iv: [2; 16], uuid: [3; 16] };

    #[test]
    fn the_vector_of_the_standard_opens() {
        // EIP-2335, "Test Cases": the PBKDF2 one.
        let json = r#"{
            "crypto": {
                "kdf": {"function": "pbkdf2", "params": {"dklen": 32, "c": 262144, "prf": "hmac-sha256",
                    "salt": "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"}, "message": ""},
                "checksum": {"function": "sha256", "params": {},
                    "message": "8a9f5d9912ed7e75ea794bc5a89bca5f193721d30868ade6f73043c6ea6febf1"},
                "cipher": {"function": "aes-128-ctr", "params": {"iv": "264daa3f303d7259501c93d997d84fe6"},
                    "message": "cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad"}
            },
            "description": "This is a test keystore that uses PBKDF2 to secure the secret.",
            "pubkey": "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07",
            "path": "m/12381/60/0/0",
            "uuid": "64625def-3331-4eea-ab6f-782f3ed16a83",
            "version": 4
        }"#;
        // The password in the form NFKD.
        let secret = open(json.as_bytes(), "testpassword🔑").expect("it opens");
        assert_eq!(
            hex::encode(*secret.expose()),
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
        );
        assert_eq!(
            hex::encode(secret.public_key().to_bytes()),
            "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07"
        );
    }

    #[test]
    fn what_is_sealed_opens_with_its_password_only() {
        let secret = SecretKey::from_random(&[9; 32]).expect("a key");
        let json = seal(&secret, "password", "for a test", INSECURE_ROUNDS, &FRESH);
        let opened = open(json.as_bytes(), "password").expect("it opens");
        assert_eq!(*opened.expose(), *secret.expose());
        assert_eq!(open(json.as_bytes(), "passwore").err(), Some(KeystoreError::Password));
        for (from, to) in [
            ("\"version\": 4", "\"version\": 3"),
            ("pbkdf2", "scrypt"),
            ("\"c\": 16", "\"c\": 0"),
            ("\"c\": 16", "\"c\": 4294967295"),
            ("\"iv\": \"02", "\"iv\": \""),
            ("\"salt\": \"01", "\"salt\": \"0x"),
            ("{", "["),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json);
            assert!(
                !matches!(open(changed.as_bytes(), "password"), Ok(_) | Err(KeystoreError::Password)),
                "{to}"
            );
        }
        assert!(matches!(open(b"", ""), Err(KeystoreError::Json(_))));
    }

    #[test]
    fn uuids_are_of_version_4() {
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
