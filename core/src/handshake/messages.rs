//! What both sides share: lines, and Noise messages with their 2-byte length (noise, "Wire Format").

use super::{error::HandshakeError, xx::XxError};
use crate::{
    limits::MAX_HANDSHAKE_MESSAGE,
    wire::multistream::{self, LineError},
};

/// The protocol name of Noise (noise, "Negotiation").
pub(super) const NOISE: &[u8] = b"/noise";

/// The header as it is on the wire.
const HEADER_LINE: &[u8] = b"\x13/multistream/1.0.0\n";

/// Reads the peer's first line: whether it is there, and the bytes it took. Anything else is refused
/// at its first byte: a peer that speaks HTTP or TLS need not be waited for.
pub(super) fn header(bytes: &[u8]) -> Result<(bool, usize), HandshakeError> {
    match bytes.strip_prefix(HEADER_LINE) {
        Some(_) => Ok((true, HEADER_LINE.len())),
        None if HEADER_LINE.starts_with(bytes) => Ok((false, 0)),
        None => Err(LineError::NotMultistream.into()),
    }
}

/// The first Noise message of `bytes`, and the bytes it takes with its length. `None` when it is
/// not whole yet; too long a one is refused before it is.
pub(super) fn message(bytes: &mut [u8], number: u8) -> Result<Option<(&mut [u8], usize)>, HandshakeError> {
    let Some((len, rest)) = bytes.split_first_chunk_mut::<2>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(*len));
    if len > MAX_HANDSHAKE_MESSAGE {
        return Err(HandshakeError::TooLong { message: number, len });
    }
    Ok(rest.get_mut(..len).map(|message| (message, 2 + len)))
}

/// Writes lines one after the other; returns their length.
pub(super) fn write_lines<'a>(buf: &mut [u8], lines: impl IntoIterator<Item = &'a [u8]>) -> usize {
    let mut at = 0;
    for line in lines {
        let written = buf.get_mut(at..).and_then(|out| multistream::write_line(line, out));
        // They fit by the arithmetic of `HANDSHAKE_WRITE_SIZE`, which the caller checked.
        debug_assert!(written.is_some());
        at += written.unwrap_or(0);
    }
    at
}

/// Writes one Noise message and its length in front of it.
pub(super) fn write_message<T>(
    buf: &mut [u8],
    write: impl FnOnce(&mut [u8]) -> Option<(T, usize)>,
) -> Option<(T, usize)> {
    let (length, out) = buf.split_first_chunk_mut::<2>()?;
    let (next, len) = write(out)?;
    *length = u16::try_from(len).ok()?.to_be_bytes();
    Some((next, 2 + len))
}

/// Names the message in an error of the Noise layer.
pub(super) const fn noise_error(error: XxError, message: u8, len: usize) -> HandshakeError {
    match error {
        XxError::Short => HandshakeError::WrongLength { message, len },
        XxError::Decrypt => HandshakeError::Decrypt { message },
        XxError::SmallOrder => HandshakeError::SmallOrder { message },
    }
}
