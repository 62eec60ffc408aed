//! Base64 with the URL alphabet and no padding (RFC 4648, section 5), as the text of a record.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encodes `bytes` into `out` and returns the text; what does not fit is cut.
pub fn encode<'a>(bytes: &[u8], out: &'a mut [u8]) -> &'a str {
    let mut len = 0;
    let mut put = |bits: u32, characters: usize| {
        for i in 0..characters {
            if let Some(slot) = out.get_mut(len) {
                *slot = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize];
                len += 1;
            }
        }
    };
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0, |bits, (i, b)| bits | u32::from(*b) << (16 - 8 * i));
        put(bits, chunk.len() + 1);
    }
    core::str::from_utf8(&out[..len]).unwrap_or_default()
}

/// Decodes `text` (no padding) into `out`. `None` on a foreign character, an impossible length,
/// bits that no byte uses, or when `out` is too small.
pub fn decode<'a>(text: &[u8], out: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut len = 0;
    for chunk in text.chunks(4) {
        let mut bits = 0;
        for (i, character) in chunk.iter().enumerate() {
            bits |= value(*character)? << (18 - 6 * i);
        }
        let bytes = match chunk.len() {
            1 => return None,
            n => n - 1,
        };
        if bits & (0xff_ffff >> (8 * bytes)) != 0 {
            return None;
        }
        for i in 0..bytes {
            *out.get_mut(len)? = (bits >> (16 - 8 * i)) as u8;
            len += 1;
        }
    }
    Some(&out[..len])
}

fn value(character: u8) -> Option<u32> {
    let value = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let mut text = [0; 32];
        let mut bytes = [0; 32];
        for (plain, encoded) in
            [(&b""[..], ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foobar", "Zm9vYmFy"), (&[0xfb, 0xff], "-_8")]
        {
            assert_eq!(encode(plain, &mut text), encoded);
            assert_eq!(decode(encoded.as_bytes(), &mut bytes), Some(plain));
        }
        for bad in ["Z", "Zh", "Zm9", "Zg==", "a+b/", "Zm9vY"] {
            assert_eq!(decode(bad.as_bytes(), &mut bytes), None, "{bad}");
        }
        assert_eq!(decode(b"Zm9vYmFy", &mut [0; 5]), None);
    }
}
