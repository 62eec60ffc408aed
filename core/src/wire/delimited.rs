//! Length-delimited frames, as libp2p's request/response protocols write them: a varint length, then so
//! many bytes. The reader takes bytes cut anywhere and stores none of a frame's content.
//!
//! A request and its answer are one frame each way on a stream: write the prefix ([`varint::write`](super::varint::write())),
//! the bytes and the end; read a [`Part::Begin`], the [`Part::Bytes`] and a [`Part::End`].

use super::varint::{self, VarintError};

/// Longest prefix that is read, in bytes: lengths below 2³⁵.
const MAX_PREFIX: usize = 5;

/// Why bytes are not a frame that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is no varint, or an absurd one.
    #[error("the frame's length is malformed")]
    Length,
    /// The frame is longer than the reader allows; its length.
    #[error("a frame of {0} bytes is longer than allowed")]
    TooLong(u64),
}

/// A part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A frame of this many bytes begins.
    Begin(usize),
    /// The next bytes of it.
    Bytes(&'a [u8]),
    /// It is whole.
    End,
}

/// Reads frames out of bytes that arrive cut anywhere.
#[derive(Clone, Copy, Debug)]
pub struct FrameReader {
    max: usize,
    prefix: [u8; MAX_PREFIX],
    filled: usize,
    /// Bytes of the present frame that are still to come.
    left: Option<usize>,
}

impl FrameReader {
    /// Allows frames of at most `max` bytes.
    pub const fn new(max: usize) -> Self {
        Self { max, prefix: [0; MAX_PREFIX], filled: 0, left: None }
    }

    /// Whether a frame has begun and is not whole.
    pub const fn is_inside(&self) -> bool {
        self.left.is_some() || self.filled > 0
    }

    /// The next part and how many bytes of `input` it took; `None` when more bytes are needed. After
    /// an error the reader is of no use.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Part<'a>, usize)>, FrameError> {
        match self.left {
            None => self.next_prefix(input),
            Some(0) => {
                self.left = None;
                Ok(Some((Part::End, 0)))
            }
            Some(_) if input.is_empty() => Ok(None),
            Some(left) => {
                let n = left.min(input.len());
                self.left = Some(left - n);
                Ok(Some((Part::Bytes(input.get(..n).unwrap_or_default()), n)))
            }
        }
    }

    fn next_prefix<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Part<'a>, usize)>, FrameError> {
        for (i, byte) in input.iter().enumerate() {
            *self.prefix.get_mut(self.filled).ok_or(FrameError::Length)? = *byte;
            self.filled += 1;
            match varint::read_protobuf(self.prefix.get(..self.filled).unwrap_or_default()) {
                Ok((len, _)) => {
                    let max = self.max as u64;
                    let len =
                        usize::try_from(len).ok().filter(|_| len <= max).ok_or(FrameError::TooLong(len))?;
                    self.filled = 0;
                    self.left = Some(len);
                    return Ok(Some((Part::Begin(len), i + 1)));
                }
                Err(VarintError::Incomplete) => {}
                Err(_) => return Err(FrameError::Length),
            }
        }
        // The bytes are kept in the prefix; they are taken all the same.
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn read(reader: &mut FrameReader, input: &[u8], frames: &mut Vec<Vec<u8>>) -> Result<(), FrameError> {
        let mut at = 0;
        while let Some((part, n)) = reader.next(&input[at..])? {
            at += n;
            match part {
                Part::Begin(_) => frames.push(Vec::new()),
                Part::Bytes(bytes) => frames.last_mut().unwrap().extend_from_slice(bytes),
                Part::End => {}
            }
        }
        Ok(())
    }

    #[test]
    fn lengths_that_are_refused() {
        let refused = |bytes: &[u8]| read(&mut FrameReader::new(300), bytes, &mut Vec::new()).unwrap_err();
        assert_eq!(refused(&[0xad, 0x02]), FrameError::TooLong(301));
        assert_eq!(refused(&[0xff; 6]), FrameError::Length);
    }

    proptest! {
        #![proptest_config(crate::testing::cases(1))]

        #[test]
        fn frames_cut_anywhere(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6), cut in 1usize..50) {
            let mut bytes = Vec::new();
            for frame in &frames {
                let mut prefix = [0; 10];
                let n = varint::write(frame.len() as u64, &mut prefix).unwrap();
                bytes.extend_from_slice(&prefix[..n]);
                bytes.extend_from_slice(frame);
            }
            let (mut reader, mut got) = (FrameReader::new(200), Vec::new());
            for part in bytes.chunks(cut) {
                read(&mut reader, part, &mut got).unwrap();
            }
            prop_assert_eq!(got, frames);
            prop_assert!(!reader.is_inside());
        }
    }
}
