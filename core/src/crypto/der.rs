//! ECDSA signatures in DER, as libp2p writes them: `SEQUENCE { INTEGER r, INTEGER s }`.
//!
//! Strict both ways: one encoding for one signature, so that a flipped bit never passes as another
//! form of the same numbers.

use super::Signature;

/// Longest encoding in bytes: two integers of 33 bytes, their headers, and the sequence's.
pub const MAX_LEN: usize = 72;

/// Encodes `signature` at the start of `out`; returns the encoding.
pub fn encode<'a>(signature: &Signature, out: &'a mut [u8; MAX_LEN]) -> &'a [u8] {
    let mut at = 2;
    for number in [&signature.0[..32], &signature.0[32..]] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(31);
        let digits = &number[zeros..];
        // A leading 1 bit would read as a negative number.
        let sign = usize::from(digits[0] >= 0x80);
        out[at] = 0x02;
        out[at + 1] = (digits.len() + sign) as u8;
        out[at + 2] = 0;
        at += 2 + sign;
        out[at..at + digits.len()].copy_from_slice(digits);
        at += digits.len();
    }
    out[0] = 0x30;
    out[1] = (at - 2) as u8;
    &out[..at]
}

/// Decodes a signature; `None` for anything but the one strict encoding of two numbers from 0 to
/// 2²⁵⁶ − 1. Whether they suit the curve is [`Crypto::verify`](super::Crypto::verify)'s to say.
pub fn decode(bytes: &[u8]) -> Option<Signature> {
    let [0x30, len, body @ ..] = bytes else { return None };
    if usize::from(*len) != body.len() || *len >= 0x80 {
        return None;
    }
    let mut signature = [0; 64];
    let (r, s) = signature.split_at_mut(32);
    let rest = integer(body, r)?;
    let rest = integer(rest, s)?;
    rest.is_empty().then_some(Signature(signature))
}

fn integer<'a>(bytes: &'a [u8], out: &mut [u8]) -> Option<&'a [u8]> {
    let [0x02, len, rest @ ..] = bytes else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*len))?;
    let digits = match number {
        [] | [0x80..=0xff, ..] => return None,
        // A zero in front is there for the sign, or it is the number zero; else it is padding.
        [0, next @ ..] if next.first().is_some_and(|byte| *byte < 0x80) => return None,
        [0, next @ ..] if !next.is_empty() => next,
        other => other,
    };
    let start = out.len().checked_sub(digits.len())?;
    out.get_mut(start..)?.copy_from_slice(digits);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(signature: &Signature) -> alloc::vec::Vec<u8> {
        encode(signature, &mut [0; MAX_LEN]).to_vec()
    }

    #[test]
    fn known_forms() {
        let mut small = [0; 64];
        small[31] = 1;
        small[63] = 0x80;
        assert_eq!(encoded(&Signature(small)), [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]);
        assert_eq!(encoded(&Signature([0; 64])), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(encoded(&Signature([0xff; 64])).len(), MAX_LEN);
    }

    #[test]
    fn other_forms_of_the_same_numbers_are_refused() {
        let refused: [&[u8]; 11] = [
            &[],
            &[0x30],
            &[0x30, 6, 2, 1, 1, 2, 1],             // cut
            &[0x30, 6, 2, 1, 1, 2, 1, 1, 0],       // trailing byte
            &[0x30, 0x81, 6, 2, 1, 1, 2, 1, 1],    // long form of the length
            &[0x30, 7, 2, 2, 0, 1, 2, 1, 1],       // padded
            &[0x30, 6, 2, 1, 0x81, 2, 1, 1],       // negative
            &[0x30, 5, 2, 0, 2, 1, 1],             // empty integer
            &[0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1], // three integers
            &[0x31, 6, 2, 1, 1, 2, 1, 1],          // another tag
            &[0x30, 8, 2, 1, 1, 2, 1, 1, 0, 0],    // bytes after the integers
        ];
        for bytes in refused {
            assert_eq!(decode(bytes), None, "{bytes:x?}");
        }
        assert!(decode(&[0x30, 6, 2, 1, 1, 2, 1, 1]).is_some());
    }

    proptest! {
        #![proptest_config(crate::testing::cases(1))]

        #[test]
        fn round_trip(a: [u8; 32], b: [u8; 32], zeros in 0usize..33) {
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&a);
            bytes[32..].copy_from_slice(&b);
            bytes[..zeros].fill(0);
            let signature = Signature(bytes);
            prop_assert_eq!(decode(&encoded(&signature)), Some(signature));
            // k256 agrees, where it takes the numbers at all.
            if let Ok(theirs) = k256::ecdsa::Signature::from_slice(&bytes) {
                let der = theirs.to_der();
                prop_assert_eq!(der.as_bytes(), &encoded(&signature)[..]);
            }
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(signature) = decode(&bytes) {
                prop_assert_eq!(encoded(&signature), bytes);
            }
        }
    }
}
