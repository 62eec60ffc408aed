//! Lines of multistream-select 1.0 (libp2p connections, "multistream-select"): a varint length, the
//! text, and a newline that the length counts.

use crate::{
    limits::MAX_PROTOCOL_NAME,
    wire::varint::{self, VarintError},
};

/// The line that opens every negotiation, from both sides.
pub const HEADER: &[u8] = b"/multistream/1.0.0";
/// The answer to a protocol that is not available.
pub const NOT_AVAILABLE: &[u8] = b"na";

/// Longest line on the wire in bytes: length, name and newline.
pub const MAX_LINE: usize = 2 + MAX_PROTOCOL_NAME + 1;

/// Why bytes are not a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The length is no varint in its shortest form.
    #[error("the line's length is malformed")]
    Length,
    /// The line is empty (not even its newline), or longer than [`MAX_PROTOCOL_NAME`].
    #[error("a line of {0} bytes is empty or too long")]
    Size(u64),
    /// The last byte of the line is not a newline.
    #[error("the line does not end in a newline")]
    NoNewline,
    /// The peer's first line is not [`HEADER`].
    #[error("the peer does not speak multistream-select 1.0")]
    NotMultistream,
}

/// Reads the first line of `bytes`: its text without the newline, and the bytes it took. `None`
/// when more bytes are needed.
pub fn read_line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, LineError> {
    let Some(total) = line_len(bytes)? else { return Ok(None) };
    let Some(line) = bytes.get(..total) else { return Ok(None) };
    let start = total - text_len(line);
    match line.get(start..).and_then(<[u8]>::split_last) {
        Some((b'\n', text)) => Ok(Some((text, total))),
        _ => Err(LineError::NoNewline),
    }
}

/// Length on the wire of the line that `bytes` begin, in bytes. `None` when the length is not there yet.
pub fn line_len(bytes: &[u8]) -> Result<Option<usize>, LineError> {
    let (len, prefix) = match varint::read(bytes) {
        Ok(found) => found,
        Err(VarintError::Incomplete) => return Ok(None),
        Err(_) => return Err(LineError::Length),
    };
    if len == 0 || len > MAX_PROTOCOL_NAME as u64 + 1 {
        return Err(LineError::Size(len));
    }
    Ok(Some(prefix + len as usize))
}

/// Writes `text` as a line at the start of `out`; returns its length on the wire, or `None` when it
/// does not fit.
pub fn write_line(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let start = varint::write(text.len() as u64 + 1, out)?;
    let end = start + text.len();
    out.get_mut(start..end)?.copy_from_slice(text);
    *out.get_mut(end)? = b'\n';
    Some(end + 1)
}

/// Length on the wire of the line with this text.
pub const fn wire_len(text: &[u8]) -> usize {
    varint::len(text.len() as u64 + 1) + text.len() + 1
}

fn text_len(line: &[u8]) -> usize {
    varint::read(line).map_or(0, |(len, _)| len as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `na` as the connections page prints it.
    #[test]
    fn published_line() {
        let mut out = [0; 32];
        assert_eq!(write_line(NOT_AVAILABLE, &mut out), Some(4));
        assert_eq!(out[..4], [0x03, 0x6e, 0x61, 0x0a]);
        assert_eq!(wire_len(HEADER), 20);
    }

    #[test]
    fn limits_and_forms() {
        assert_eq!(read_line(&[]), Ok(None));
        assert_eq!(read_line(b"\x03na"), Ok(None));
        assert_eq!(read_line(b"\x03na\nrest"), Ok(Some((&b"na"[..], 4))));
        assert_eq!(read_line(b"\x03na "), Err(LineError::NoNewline));
        assert_eq!(read_line(b"\x00"), Err(LineError::Size(0)));
        assert_eq!(read_line(b"\x83\x00na\n"), Err(LineError::Length));
        assert_eq!(read_line(b"\xff\x7f"), Err(LineError::Size(16383)), "refused before it is there");
        let longest = [b'x'; MAX_PROTOCOL_NAME];
        let mut out = [0; MAX_LINE];
        let n = write_line(&longest, &mut out).unwrap();
        assert_eq!(n, MAX_LINE);
        assert_eq!(read_line(&out), Ok(Some((&longest[..], n))));
    }

    proptest! {
        #![proptest_config(crate::testing::cases(1))]

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some((text, n))) = read_line(&bytes) {
                let mut out = [0; MAX_LINE];
                prop_assert_eq!(write_line(text, &mut out), Some(n));
                prop_assert_eq!(&out[..n], &bytes[..n]);
            }
        }
    }
}
