//! Protobuf fields over slices (protobuf encoding guide): a reader that walks the fields of one
//! message, and a writer. A schema is a `match` over field numbers at the caller's; unknown fields
//! are skipped by not matching them.

use crate::wire::varint;

/// Why the bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// A number or a length is cut off, too long, or reaches past the end.
    #[error("a field is cut off or longer than the message")]
    Truncated,
    /// Field number 0 or above 2²⁹ − 1.
    #[error("field number {0} does not exist")]
    FieldNumber(u64),
    /// A group (deprecated), or a wire type that does not exist.
    #[error("wire type {0} is not supported")]
    WireType(u8),
    /// A field of the schema has another type than it should.
    #[error("field {0} has the wrong type")]
    FieldType(u32),
}

/// The value of a field, as the wire type tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0: integers, booleans and enumerations.
    Varint(u64),
    /// Wire type 1: eight bytes, little-endian.
    Fixed64(u64),
    /// Wire type 2: bytes, text, or a message inside.
    Bytes(&'a [u8]),
    /// Wire type 5: four bytes, little-endian.
    Fixed32(u32),
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's number in the schema.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    /// The value as bytes, or [`ProtobufError::FieldType`].
    pub const fn bytes(&self) -> Result<&'a [u8], ProtobufError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::FieldType(self.number)),
        }
    }

    /// The value as an integer, or [`ProtobufError::FieldType`].
    pub const fn varint(&self) -> Result<u64, ProtobufError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(ProtobufError::FieldType(self.number)),
        }
    }
}

/// Walks the fields of one message. After an error it ends.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads `message`, which must be exactly one message.
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let (value, len) = varint::read_protobuf(self.rest).map_err(|_| ProtobufError::Truncated)?;
        self.take(len)?;
        Ok(value)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(ProtobufError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        self.take(N)?.try_into().map_err(|_| ProtobufError::Truncated)
    }

    fn field(&mut self) -> Result<Field<'a>, ProtobufError> {
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number @ 1..=0x1fff_ffff) => number,
            _ => return Err(ProtobufError::FieldNumber(tag >> 3)),
        };
        let value = match tag as u8 & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(ProtobufError::WireType(other)),
        };
        Ok(Field { number, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Writes fields into a slice. What does not fit makes [`Writer::finish`] return `None`.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: Option<usize>,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: Some(0) }
    }

    /// Appends an integer field (wire type 0).
    pub fn varint(&mut self, number: u32, value: u64) -> &mut Self {
        self.number(u64::from(number) << 3).number(value)
    }

    /// Appends a field of bytes, text or a message (wire type 2).
    pub fn bytes(&mut self, number: u32, value: &[u8]) -> &mut Self {
        self.number(u64::from(number) << 3 | 2).number(value.len() as u64).raw(value)
    }

    /// Length written in bytes, or `None` when something did not fit.
    pub const fn finish(&self) -> Option<usize> {
        self.len
    }

    fn number(&mut self, value: u64) -> &mut Self {
        let mut bytes = [0; varint::MAX_PROTOBUF_LEN];
        match varint::write(value, &mut bytes) {
            Some(len) => self.raw(&bytes[..len]),
            None => self,
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.len = self.len.and_then(|start| {
            let end = start.checked_add(bytes.len())?;
            self.out.get_mut(start..end)?.copy_from_slice(bytes);
            Some(end)
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// The examples of the protobuf encoding guide: `a = 150` (field 1) and `"testing"` (field 2).
    #[test]
    fn published_examples() {
        let mut out = [0; 32];
        let n = Writer::new(&mut out).varint(1, 150).bytes(2, b"testing").finish().unwrap();
        let expected = [0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67];
        assert_eq!(out[..n], expected);
        let fields: Result<Vec<_>, _> = Fields::new(&expected).collect();
        let fields = fields.unwrap();
        assert_eq!(fields[0], Field { number: 1, value: Value::Varint(150) });
        assert_eq!(fields[1].bytes(), Ok(&b"testing"[..]));
        assert_eq!(fields[1].varint(), Err(ProtobufError::FieldType(2)));
    }

    #[test]
    fn refused_forms() {
        let first = |bytes: &[u8]| Fields::new(bytes).next().unwrap().unwrap_err();
        assert_eq!(first(&[0x00]), ProtobufError::FieldNumber(0));
        assert_eq!(first(&[0x0b]), ProtobufError::WireType(3));
        assert_eq!(first(&[0x0a, 0x02, 0x00]), ProtobufError::Truncated);
        assert_eq!(first(&[0x0d, 1, 2, 3]), ProtobufError::Truncated);
        assert_eq!(Writer::new(&mut [0; 3]).bytes(1, b"ab").finish(), None);
    }

    proptest! {
        #![proptest_config(crate::testing::cases(1))]

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // Every field takes at least one byte, so the walk ends.
            prop_assert!(Fields::new(&bytes).count() <= bytes.len());
        }
    }
}
