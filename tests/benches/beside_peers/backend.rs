//! The cryptography that our side of a row runs on.

use coracle_core::crypto::{Crypto, Identity, RustCrypto, SecretKey};
use coracle_native_crypto::NativeCrypto;

/// A column of the table.
pub(crate) trait Backend: Crypto + Send + Sync + 'static {
    /// Its name in the table.
    const NAME: &'static str;
    /// Whether the stricter bars hold.
    const NATIVE: bool;

    /// The instance.
    fn make() -> Self;
}

impl Backend for RustCrypto {
    const NAME: &'static str = "default";
    const NATIVE: bool = false;

    fn make() -> Self {
        Self
    }
}

impl Backend for NativeCrypto {
    const NAME: &'static str = "native";
    const NATIVE: bool = true;

    fn make() -> Self {
        Self::new()
    }
}

/// The identity with this number, from 1 on.
pub(crate) fn identity<B: Backend>(number: u32) -> Identity<B> {
    Identity::new(B::make(), secret(number))
}

/// The secret key with this number.
pub(crate) fn secret(number: u32) -> SecretKey {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_bytes(&bytes).expect("below the group's order")
}
