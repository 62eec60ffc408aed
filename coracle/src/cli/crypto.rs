//! The cryptography that the program's nodes use: what the feature `native-crypto` says.

#[cfg(feature = "native-crypto")]
pub(super) use native::{libraries, make};
#[cfg(not(feature = "native-crypto"))]
pub(super) use rust::{libraries, make};

#[cfg(feature = "native-crypto")]
mod native {
    use coracle_native_crypto::NativeCrypto;

    /// An instance.
    pub(in super::super) fn make() -> NativeCrypto {
        NativeCrypto::new()
    }

    /// Whose it is, for people.
    pub(in super::super) fn libraries() -> &'static str {
        make().libraries()
    }
}

#[cfg(not(feature = "native-crypto"))]
mod rust {
    use coracle_core::crypto::RustCrypto;

    /// An instance.
    pub(in super::super) const fn make() -> RustCrypto {
        RustCrypto
    }

    /// Whose it is, for people.
    pub(in super::super) const fn libraries() -> &'static str {
        "RustCrypto"
    }
}
