//! Numbers modulo the order of the groups of BLS12-381.

use crypto_bigint::{U256, const_monty_form, const_monty_params, modular::ConstMontyParams};
use zeroize::Zeroize;

use super::SecretKey;

const_monty_params!(
    Order,
    U256,
    "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001",
    "The order of the groups (draft-irtf-cfrg-pairing-friendly-curves, BLS12-381)."
);
const_monty_form!(Element, Order);

/// A number modulo the order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Scalar(Element);

impl Scalar {
    pub(super) const ZERO: Self = Self(Element::ZERO);

    pub(super) fn from_u64(value: u64) -> Self {
        Self(Element::new(&U256::from_u64(value)))
    }

    /// Big-endian; reduced, so that 32 random bytes are a number that is off uniform by a hair.
    pub(super) fn from_be_bytes(bytes: &[u8; 32]) -> Self {
        Self(Element::new(&U256::from_be_slice(bytes)))
    }

    pub(super) fn from_secret(key: &SecretKey) -> Self {
        Self::from_be_bytes(&key.expose())
    }

    pub(super) fn to_be_bytes(self) -> [u8; 32] {
        self.0.retrieve().to_be_bytes().into()
    }

    /// As `blst` takes multipliers.
    pub(super) fn to_le_bytes(self) -> [u8; 32] {
        self.0.retrieve().to_le_bytes().into()
    }

    pub(super) fn add(&self, other: &Self) -> Self {
        Self(self.0.add(&other.0))
    }

    pub(super) fn sub(&self, other: &Self) -> Self {
        Self(self.0.sub(&other.0))
    }

    pub(super) fn mul(&self, other: &Self) -> Self {
        Self(self.0.mul(&other.0))
    }

    /// The inverse; that of zero is zero.
    pub(super) fn invert(&self) -> Self {
        Self(self.0.invert().unwrap_or(Element::ZERO))
    }

    pub(super) fn wipe(&mut self) {
        self.0.as_montgomery_mut().zeroize();
    }

    /// The value at `at` of the polynomial with these coefficients, the constant one first.
    pub(super) fn evaluate(coefficients: &[Self], at: &Self) -> Self {
        coefficients.iter().rev().fold(Self::ZERO, |sum, coefficient| sum.mul(at).add(coefficient))
    }
}
