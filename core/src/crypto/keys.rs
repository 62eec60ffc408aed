//! Keys and signatures as bytes. Secrets wipe themselves and print redacted.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that are not a usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid secp256k1 key")]
pub struct InvalidKey;

/// `N` secret bytes: wiped on drop, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes the bytes over. The caller's copy is the caller's to wipe.
    pub const fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes, for handing to a primitive.
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// A secp256k1 secret key: a number from 1 to the group's order − 1, big-endian.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Checks the range.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        /// The order of the group (SEC 2, section 2.4.1).
        const ORDER: [u8; 32] = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
            0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
        ];
        if *bytes == [0; 32] || *bytes >= ORDER { Err(InvalidKey) } else { Ok(Self(*bytes)) }
    }

    /// The 32 bytes, for handing to a primitive or writing to the key file.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

/// A secp256k1 public key, uncompressed: x and y, big-endian, without the leading 0x04.
///
/// It is kept so because the node id is the hash of this form, and decompressing costs a square
/// root. One made by [`Crypto`](super::Crypto) is a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 64]);

impl PublicKey {
    /// Wraps x and y, which the caller knows to be a point of the curve.
    pub const fn from_xy(xy: [u8; 64]) -> Self {
        Self(xy)
    }

    /// x and y.
    pub const fn xy(&self) -> &[u8; 64] {
        &self.0
    }

    /// SEC 1 compressed form: 0x02 or 0x03 for an even or odd y, then x.
    pub fn compressed(&self) -> [u8; 33] {
        let mut out = [0; 33];
        out[0] = 2 + (self.0[63] & 1);
        out[1..].copy_from_slice(&self.0[..32]);
        out
    }

    /// SEC 1 uncompressed form, 65 bytes.
    pub fn sec1(&self) -> [u8; 65] {
        let mut out = [4; 65];
        out[1..].copy_from_slice(&self.0);
        out
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        for byte in self.compressed() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// An ECDSA signature: `r` and `s`, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wipes_itself<T: ZeroizeOnDrop>() {}
    // The compiler is the test (rule N7).
    const _: () = wipes_itself::<SecretKey>();
    const _: () = wipes_itself::<Secret<32>>();
    const _: () = wipes_itself::<Secret<16>>();

    #[test]
    fn range_of_secret_keys() {
        assert!(SecretKey::from_bytes(&[0; 32]).is_err());
        assert!(SecretKey::from_bytes(&[0xff; 32]).is_err());
        assert!(SecretKey::from_bytes(&[1; 32]).is_ok());
    }
}
