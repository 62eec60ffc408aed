//! Unsigned variable-length integers: seven bits a byte, least significant first.
//!
//! Two readers, because two formats share the encoding: [`read`] is strict (multiformats
//! `unsigned-varint`: shortest form, at most nine bytes), [`read_protobuf`] accepts what protobuf
//! accepts (padded forms, all 64 bits in ten bytes).

/// Longest strict varint in bytes (multiformats: 63 bits).
pub const MAX_LEN: usize = 9;
/// Longest protobuf varint in bytes (64 bits).
pub const MAX_PROTOBUF_LEN: usize = 10;

/// Why the bytes are not a varint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end inside the number: offer more.
    #[error("the number is cut off")]
    Incomplete,
    /// More bytes than the format allows, or more than 64 bits.
    #[error("the number is too long")]
    TooLong,
    /// A shorter form of the same number exists.
    #[error("the number is not in its shortest form")]
    NotMinimal,
}

/// Reads a number in its shortest form; returns it and the bytes it took.
pub const fn read(bytes: &[u8]) -> Result<(u64, usize), VarintError> {
    match read_up_to(bytes, MAX_LEN) {
        Ok((_, len)) if len > 1 && bytes[len - 1] == 0 => Err(VarintError::NotMinimal),
        other => other,
    }
}

/// Reads a number as protobuf writes it; returns it and the bytes it took.
pub const fn read_protobuf(bytes: &[u8]) -> Result<(u64, usize), VarintError> {
    read_up_to(bytes, MAX_PROTOBUF_LEN)
}

/// Bytes that [`write()`] needs for `value`.
pub const fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Writes the shortest form of `value` at the start of `out`; returns its length, or `None` when
/// `out` is too short.
pub fn write(mut value: u64, out: &mut [u8]) -> Option<usize> {
    let len = len(value);
    let out = out.get_mut(..len)?;
    for byte in out.iter_mut() {
        *byte = value as u8 | 0x80;
        value >>= 7;
    }
    if let Some(last) = out.last_mut() {
        *last &= 0x7f;
    }
    Some(len)
}

const fn read_up_to(bytes: &[u8], max: usize) -> Result<(u64, usize), VarintError> {
    let mut value = 0u64;
    let mut i = 0;
    while i < max {
        if i == bytes.len() {
            return Err(VarintError::Incomplete);
        }
        let byte = bytes[i];
        if i == 9 && byte > 1 {
            return Err(VarintError::TooLong);
        }
        value |= ((byte & 0x7f) as u64) << (7 * i);
        i += 1;
        if byte < 0x80 {
            return Ok((value, i));
        }
    }
    Err(VarintError::TooLong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values and encodings from the multiformats unsigned-varint page.
    #[test]
    fn published_values() {
        let vectors: [(u64, &[u8]); 6] = [
            (1, &[0x01]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (255, &[0xff, 0x01]),
            (300, &[0xac, 0x02]),
            (16384, &[0x80, 0x80, 0x01]),
        ];
        for (value, bytes) in vectors {
            let mut out = [0; 10];
            let n = write(value, &mut out).unwrap();
            assert_eq!(&out[..n], bytes);
            assert_eq!(read(bytes), Ok((value, bytes.len())));
            assert_eq!(write(value, &mut out[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn strict_and_protobuf_differ() {
        assert_eq!(read(&[0x81, 0x00]), Err(VarintError::NotMinimal));
        assert_eq!(read_protobuf(&[0x81, 0x00]), Ok((1, 2)));
        assert_eq!(read(&[0xff; 10]), Err(VarintError::TooLong));
        let mut max = [0xff; 10];
        max[9] = 1;
        assert_eq!(read_protobuf(&max), Ok((u64::MAX, 10)));
        max[9] = 2;
        assert_eq!(read_protobuf(&max), Err(VarintError::TooLong));
        assert_eq!(read(&[]), Err(VarintError::Incomplete));
        assert_eq!(read(&[0x80]), Err(VarintError::Incomplete));
    }

    proptest! {
        #![proptest_config(crate::testing::cases(1))]

        #[test]
        fn round_trip(value: u64) {
            let mut out = [0; 10];
            let n = write(value, &mut out).unwrap();
            prop_assert_eq!(read_protobuf(&out[..n]), Ok((value, n)));
            if value < 1 << 63 {
                prop_assert_eq!(read(&out[..n]), Ok((value, n)));
            }
        }

        #[test]
        fn any_bytes(bytes: [u8; 12], n in 0usize..12) {
            if let Ok((value, len)) = read(&bytes[..n]) {
                let mut out = [0; 10];
                prop_assert_eq!(write(value, &mut out), Some(len));
                prop_assert_eq!(&out[..len], &bytes[..len]);
            }
            let _ = read_protobuf(&bytes[..n]);
        }
    }
}
