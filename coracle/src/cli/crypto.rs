//! The cryptography that the program's nodes use: what the feature `native-crypto` says.

#[cfg(not(feature = "native-crypto"))]
use coracle_core::crypto::RustCrypto as Backend;
#[cfg(feature = "native-crypto")]
use coracle_native_crypto::NativeCrypto as Backend;

/// An instance.
pub(super) fn make() -> Backend {
    Backend::default()
}

/// Whose it is, for people.
pub(super) fn libraries() -> &'static str {
    #[cfg(feature = "native-crypto")]
    let libraries = make().libraries();
    #[cfg(not(feature = "native-crypto"))]
    let libraries = "RustCrypto";
    libraries
}
