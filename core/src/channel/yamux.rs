//! The 12-byte header of yamux frames (yamux, "Framing").

/// Length of a header in bytes.
pub(super) const HEADER_LEN: usize = 12;

/// Flags of a header (yamux, "Flag Field"); those it does not name are ignored.
pub(super) const SYN: u16 = 1;
pub(super) const ACK: u16 = 2;
pub(super) const FIN: u16 = 4;
pub(super) const RST: u16 = 8;

/// Codes of GO_AWAY (yamux, "Session termination").
pub(super) const GO_AWAY_NORMAL: u32 = 0;
pub(super) const GO_AWAY_PROTOCOL_ERROR: u32 = 1;

/// How the peer breaks the yamux specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamuxError {
    /// The version is not 0.
    #[error("version {0} is not 0")]
    Version(u8),
    /// A frame type above 3.
    #[error("frame type {0} does not exist")]
    Type(u8),
    /// Data or a window update for stream 0, which is the session.
    #[error("data or a window update for stream 0")]
    StreamZero,
    /// The peer opens a stream with an id of our parity.
    #[error("stream {0} is not the peer's to open")]
    WrongParity(u32),
    /// The peer opens a stream that is open.
    #[error("stream {0} is open already")]
    AlreadyOpen(u32),
    /// A frame for a stream that nobody opened.
    #[error("stream {0} was never opened")]
    NeverOpened(u32),
    /// More data than the window allows.
    #[error("stream {0}: more data than its window")]
    WindowExceeded(u32),
    /// A window above 2³² − 1 bytes.
    #[error("stream {0}: the window overflows")]
    WindowOverflow(u32),
    /// Data after the stream's FIN.
    #[error("stream {0}: data after its end")]
    DataAfterFin(u32),
}

/// The kinds of frames (yamux, "Type Field").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data = 0,
    WindowUpdate = 1,
    Ping = 2,
    GoAway = 3,
}

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    pub(super) stream: u32,
    pub(super) length: u32,
}

impl Header {
    pub(super) const fn new(kind: Kind, flags: u16, stream: u32, length: u32) -> Self {
        Self { kind, flags, stream, length }
    }

    pub(super) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[1] = self.kind as u8;
        out[2..4].copy_from_slice(&self.flags.to_be_bytes());
        out[4..8].copy_from_slice(&self.stream.to_be_bytes());
        out[8..].copy_from_slice(&self.length.to_be_bytes());
        out
    }

    pub(super) const fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, YamuxError> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        if version != 0 {
            return Err(YamuxError::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(YamuxError::Type(other)),
        };
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        if stream == 0 && matches!(kind, Kind::Data | Kind::WindowUpdate) {
            return Err(YamuxError::StreamZero);
        }
        let flags = u16::from_be_bytes([f0, f1]);
        Ok(Self { kind, flags, stream, length: u32::from_be_bytes([l0, l1, l2, l3]) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layout() {
        let header = Header::new(Kind::WindowUpdate, SYN | ACK, 0x0102_0304, 0x0506_0708);
        assert_eq!(header.encode(), [0, 1, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    proptest! {
        #![proptest_config(crate::testing::cases(1))]

        #[test]
        fn any_header(bytes: [u8; HEADER_LEN]) {
            for bytes in [bytes, { let mut b = bytes; b[0] = 0; b[1] &= 3; b }] {
                if let Ok(header) = Header::decode(&bytes) {
                    prop_assert_eq!(header.encode(), bytes);
                }
            }
        }
    }
}
