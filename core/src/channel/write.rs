//! The plaintext of one Noise frame while it is being filled with yamux frames.

use super::yamux::{HEADER_LEN, Header, Kind};

/// A slice that is filled from the front. What does not fit is not written in part.
#[derive(Debug)]
pub(super) struct Out<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Out<'a> {
    pub(super) const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// Bytes written so far.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The rest, for writing lines outside yamux.
    pub(super) fn raw(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        self.len += write(self.rest(0));
    }

    /// Bytes of data that the next data frame can hold.
    pub(super) fn data_room(&self) -> usize {
        self.buf.len().saturating_sub(self.len + HEADER_LEN)
    }

    /// Writes a frame that is a header only; false when it does not fit.
    pub(super) fn header(&mut self, header: Header) -> bool {
        match self.rest(0).first_chunk_mut::<HEADER_LEN>() {
            Some(place) => {
                *place = header.encode();
                self.len += HEADER_LEN;
                true
            }
            None => false,
        }
    }

    /// Writes a data frame of at most `window` bytes, which `write` puts into the slice it is given;
    /// returns how many those were. With none there is no frame.
    pub(super) fn data(
        &mut self,
        flags: u16,
        stream: u32,
        window: u32,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> usize {
        let room = self.rest(HEADER_LEN);
        let most = room.len().min(window as usize);
        let n = write(&mut room[..most]);
        if n > 0 && self.header(Header::new(Kind::Data, flags, stream, n as u32)) {
            self.len += n;
        }
        n
    }

    /// Writes as much of `bytes` as fits as a data frame; returns how much.
    pub(super) fn bytes(&mut self, flags: u16, stream: u32, window: u32, bytes: &[u8]) -> usize {
        self.data(flags, stream, window, |room| {
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            n
        })
    }

    fn rest(&mut self, skip: usize) -> &mut [u8] {
        self.buf.get_mut(self.len + skip..).unwrap_or_default()
    }
}
