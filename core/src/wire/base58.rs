//! Base58 with the Bitcoin alphabet, for peer ids (multibase "base58btc", without its prefix).

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Encodes `bytes` into `out` and returns the text. `out` must hold 138 % of the input and one
/// byte; what does not fit is cut (60 bytes hold any peer id).
pub fn encode<'a>(bytes: &[u8], out: &'a mut [u8]) -> &'a str {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    // Digits, least significant first.
    let mut len = 0;
    for byte in &bytes[zeros..] {
        let mut carry = u32::from(*byte);
        for digit in &mut out[..len] {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 && len < out.len() {
            out[len] = (carry % 58) as u8;
            carry /= 58;
            len += 1;
        }
    }
    let end = (len + zeros).min(out.len());
    out[len..end].fill(0);
    let text = &mut out[..end];
    text.reverse();
    for digit in text.iter_mut() {
        *digit = ALPHABET[usize::from(*digit)];
    }
    core::str::from_utf8(text).unwrap_or_default()
}

/// Decodes `text` into `out`; `None` on a foreign character or when `out` is too small.
pub fn decode<'a>(text: &str, out: &'a mut [u8]) -> Option<&'a [u8]> {
    let zeros = text.bytes().take_while(|b| *b == b'1').count();
    let mut len = 0;
    for character in text.bytes().skip(zeros) {
        let mut carry = ALPHABET.iter().position(|a| *a == character)? as u32;
        for byte in &mut out[..len] {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            *out.get_mut(len)? = carry as u8;
            carry >>= 8;
            len += 1;
        }
    }
    let end = len + zeros;
    out.get_mut(len..end)?.fill(0);
    out[..end].reverse();
    Some(&out[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let mut text = [0; 32];
        let mut bytes = [0; 32];
        for (plain, encoded) in
            [(&b"Hello World!"[..], "2NEpo7TZRRrLZSi2U"), (&[0, 0, 40, 127, 180, 205], "11233QC4"), (&[], "")]
        {
            assert_eq!(encode(plain, &mut text), encoded);
            assert_eq!(decode(encoded, &mut bytes), Some(plain));
        }
        assert_eq!(decode("0", &mut bytes), None, "0 is not in the alphabet");
        assert_eq!(decode("2NEpo7TZRRrLZSi2U", &mut [0; 4]), None, "too small a buffer");
    }
}
