//! Length-delimited protobuf messages whose bytes arrive cut anywhere: read field by field, so that a
//! message needs no more memory than its longest wanted field.

use super::{
    delimited::{FrameError, FrameReader, Part},
    protobuf::{Field, ProtobufError, Value},
    varint::{self, VarintError},
};

/// Longest field that is handed on, in bytes; longer ones are skipped.
pub const MAX_FIELD: usize = 304;

/// Why bytes are no such messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The frame around it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The message.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A field: integers, and bytes of at most [`MAX_FIELD`].
    Field(Field<'a>),
    /// A message is whole.
    End,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A field's number and type, then what follows.
    Tag,
    Integer(u32),
    Length(u32),
    /// The bytes of a field are collected.
    Bytes(u32, usize),
    /// Bytes that nobody wants.
    Skip(usize),
}

/// Reads messages field by field.
#[derive(Clone, Debug)]
pub struct MessageReader {
    frames: FrameReader,
    state: State,
    item: heapless::Vec<u8, MAX_FIELD>,
    /// `item` was handed on, and is to be emptied.
    handed_on: bool,
}

impl MessageReader {
    /// Allows messages of at most `max` bytes.
    pub const fn new(max: usize) -> Self {
        Self {
            frames: FrameReader::new(max),
            state: State::Tag,
            item: heapless::Vec::new(),
            handed_on: false,
        }
    }

    /// Whether a message has begun and is not whole.
    pub const fn is_inside(&self) -> bool {
        self.frames.is_inside()
    }

    /// Reads on in `input`: the bytes taken, and the item that they complete. Without an item all bytes
    /// were taken; with one, call again with the rest, even when that is empty.
    ///
    /// # Errors
    /// See [`MessageError`]; after one the reader is of no use.
    pub fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Item<'_>>), MessageError> {
        if core::mem::take(&mut self.handed_on) {
            self.item.clear();
        }
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            // A copy decides how far this step goes; the frame's count is kept in `frames` only.
            let before = self.frames;
            let Some((part, n)) = self.frames.next(rest)? else { return Ok((input.len(), None)) };
            match part {
                Part::Begin(_) => {
                    self.state = State::Tag;
                    self.item.clear();
                    at += n;
                }
                Part::End => {
                    let whole = matches!(self.state, State::Tag) && self.item.is_empty();
                    return if whole {
                        Ok((at, Some(Item::End)))
                    } else {
                        Err(ProtobufError::Truncated.into())
                    };
                }
                Part::Bytes(bytes) => {
                    let (used, field) = self.step(bytes)?;
                    at += used;
                    self.frames = before;
                    let _ = self.frames.next(bytes.get(..used).unwrap_or_default())?;
                    if let Some((number, integer)) = field {
                        let value = integer.map_or(Value::Bytes(&self.item), Value::Varint);
                        return Ok((at, Some(Item::Field(Field { number, value }))));
                    }
                }
            }
        }
    }

    /// Takes at least one byte, at most up to the end of one field.
    #[allow(clippy::type_complexity)] // a field's number and, if it is an integer, its value
    fn step(&mut self, bytes: &[u8]) -> Result<(usize, Option<(u32, Option<u64>)>), MessageError> {
        match self.state {
            State::Tag | State::Integer(_) | State::Length(_) => self.number(bytes),
            State::Bytes(number, left) => {
                let n = left.min(bytes.len());
                // `Length` made sure that it fits.
                let _ = self.item.extend_from_slice(bytes.get(..n).unwrap_or_default());
                self.state = if n == left { State::Tag } else { State::Bytes(number, left - n) };
                self.handed_on = n == left;
                Ok((n, (n == left).then_some((number, None))))
            }
            State::Skip(left) => {
                let n = left.min(bytes.len());
                self.state = if n == left { State::Tag } else { State::Skip(left - n) };
                Ok((n, None))
            }
        }
    }

    #[allow(clippy::type_complexity)] // as in `step`
    fn number(&mut self, bytes: &[u8]) -> Result<(usize, Option<(u32, Option<u64>)>), MessageError> {
        let Some(byte) = bytes.first() else { return Ok((0, None)) };
        let _ = self.item.push(*byte);
        let value = match varint::read_protobuf(&self.item) {
            Ok((value, _)) => value,
            Err(VarintError::Incomplete) => return Ok((1, None)),
            Err(_) => return Err(ProtobufError::Truncated.into()),
        };
        self.item.clear();
        let mut done = None;
        self.state = match self.state {
            State::Integer(number) => {
                done = Some((number, Some(value)));
                State::Tag
            }
            State::Length(number) => match usize::try_from(value) {
                Ok(0) => {
                    done = Some((number, None));
                    State::Tag
                }
                Ok(len) if len <= MAX_FIELD => State::Bytes(number, len),
                Ok(len) => State::Skip(len),
                Err(_) => return Err(ProtobufError::Truncated.into()),
            },
            _ => after_tag(value)?,
        };
        Ok((1, done))
    }
}

fn after_tag(tag: u64) -> Result<State, ProtobufError> {
    let number = match u32::try_from(tag >> 3) {
        Ok(number @ 1..=0x1fff_ffff) => number,
        _ => return Err(ProtobufError::FieldNumber(tag >> 3)),
    };
    match tag as u8 & 7 {
        0 => Ok(State::Integer(number)),
        1 => Ok(State::Skip(8)),
        2 => Ok(State::Length(number)),
        5 => Ok(State::Skip(4)),
        other => Err(ProtobufError::WireType(other)),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::protobuf::{Fields, Writer};

    #[derive(Debug, PartialEq)]
    enum Read {
        Integer(u32, u64),
        Bytes(u32, Vec<u8>),
        End,
    }

    fn read(bytes: &[u8], cut: usize) -> Result<Vec<Read>, MessageError> {
        let mut reader = MessageReader::new(2_000);
        let mut got = Vec::new();
        for part in bytes.chunks(cut) {
            let mut at = 0;
            loop {
                let (n, item) = reader.next(&part[at..])?;
                at += n;
                got.push(match item {
                    None => break,
                    Some(Item::End) => Read::End,
                    Some(Item::Field(Field { number, value: Value::Varint(v) })) => Read::Integer(number, v),
                    Some(Item::Field(field)) => Read::Bytes(field.number, field.bytes().unwrap().to_vec()),
                });
            }
        }
        Ok(got)
    }

    fn delimited(message: &[u8]) -> Vec<u8> {
        let mut prefix = [0; 10];
        let n = varint::write(message.len() as u64, &mut prefix).unwrap();
        [&prefix[..n], message].concat()
    }

    #[test]
    fn long_fields_are_skipped_and_cut_ones_refused() {
        let mut out = [0; 1_000];
        let mut writer = Writer::new(&mut out);
        let n = writer.bytes(1, &[7; 400]).bytes(2, b"").varint(3, 300).bytes(4, &[0xff; 3]).bytes(5, b"end");
        let n = n.finish().unwrap();
        let bytes = delimited(&out[..n]);
        let expected = [
            Read::Bytes(2, Vec::new()),
            Read::Integer(3, 300),
            Read::Bytes(4, std::vec![0xff; 3]),
            Read::Bytes(5, b"end".to_vec()),
            Read::End,
        ];
        assert_eq!(read(&bytes, 7).unwrap(), expected);
        for cut in [1, 2, 200] {
            let bytes = delimited(&out[..cut]);
            assert_eq!(read(&bytes, 9), Err(ProtobufError::Truncated.into()), "{cut}");
        }
        assert_eq!(read(&delimited(&[0x0b]), 1), Err(ProtobufError::WireType(3).into()));
        assert_eq!(read(&delimited(&[0xff; 11]), 3), Err(ProtobufError::Truncated.into()));
    }

    proptest! {
        #![proptest_config(crate::testing::cases(1))]

        /// The same as the reader over whole messages, wherever the bytes are cut.
        #[test]
        fn like_the_reader_over_slices(bytes in prop::collection::vec(any::<u8>(), 0..120), cut in 1usize..40) {
            let whole: Result<Vec<_>, _> = Fields::new(&bytes).collect();
            let got = read(&delimited(&bytes), cut);
            match whole {
                Err(_) => prop_assert!(got.is_err()),
                Ok(fields) => {
                    let expected = fields.iter().filter_map(|field| match field.value {
                        Value::Varint(v) => Some(Read::Integer(field.number, v)),
                        Value::Bytes(b) => Some(Read::Bytes(field.number, b.to_vec())),
                        _ => None,
                    });
                    let expected: Vec<_> = expected.chain([Read::End]).collect();
                    prop_assert_eq!(got.unwrap(), expected);
                }
            }
        }
    }
}
