//! X25519 by graviola where the processor has what it needs, else by dalek.

use coracle_core::crypto::{Crypto as _, RustCrypto, Secret};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use zeroize::Zeroize as _;

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// By way of [`RustCrypto`].
    Dalek,
    /// Its functions panic on a processor that lacks something, so this is chosen only after asking.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Graviola,
}

impl Backend {
    /// The fastest that this processor can run.
    pub(crate) fn detect() -> Self {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if graviola::util::is_cpu_supported() {
            return Self::Graviola;
        }
        Self::Dalek
    }

    pub(crate) fn public(self, secret: &Secret<32>) -> [u8; 32] {
        match self {
            Self::Dalek => RustCrypto.x25519_public(secret),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Self::Graviola => StaticPrivateKey::from_array(secret.expose()).public_key().as_bytes(),
        }
    }

    pub(crate) fn agree(self, secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
        match self {
            Self::Dalek => RustCrypto.x25519(secret, public),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Self::Graviola => {
                let secret = StaticPrivateKey::from_array(secret.expose());
                // Fails when the result is all zero.
                let shared = secret.diffie_hellman(&PublicKey::from_array(public)).ok()?;
                let mut bytes = shared.as_bytes();
                let shared = Secret::new(bytes);
                bytes.zeroize();
                Some(shared)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fallback_computes_the_same() {
        let (secret, public) = (Secret::new([7; 32]), [9; 32]);
        let found = Backend::detect();
        assert_eq!(found.public(&secret), Backend::Dalek.public(&secret));
        let agreed =
            [found, Backend::Dalek].map(|backend| *backend.agree(&secret, &public).unwrap().expose());
        assert_eq!(agreed[0], agreed[1]);
    }
}
