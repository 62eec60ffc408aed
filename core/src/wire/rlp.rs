//! RLP (Ethereum yellow paper, appendix B), canonical form only: every value has one encoding, and
//! any other is an error. Decoding borrows, encoding writes into the caller's slice.

/// Why bytes are not canonical RLP, or not the value that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RlpError {
    /// The bytes end inside a value.
    #[error("RLP ends too early")]
    Short,
    /// A longer form was used where a shorter one exists.
    #[error("RLP is not in canonical form")]
    NonCanonical,
    /// A list stands where a string was expected, or the other way round.
    #[error("RLP has a list where a string was expected, or a string where a list was")]
    Kind,
    /// A number has leading zeros or does not fit.
    #[error("RLP number is too large or has leading zeros")]
    Number,
    /// A string has another length than its field.
    #[error("RLP string has the wrong length")]
    Length,
    /// Bytes are left over.
    #[error("RLP has bytes left over")]
    Trailing,
}

/// One decoded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Whether this is a list.
    pub is_list: bool,
    /// The content, without its header.
    pub payload: &'a [u8],
    /// The whole value, header included.
    pub raw: &'a [u8],
}

impl<'a> Item<'a> {
    /// The bytes of a string.
    pub fn string(&self) -> Result<&'a [u8], RlpError> {
        if self.is_list { Err(RlpError::Kind) } else { Ok(self.payload) }
    }

    /// A reader over the values of a list.
    pub fn list(&self) -> Result<Reader<'a>, RlpError> {
        if self.is_list { Ok(Reader::new(self.payload)) } else { Err(RlpError::Kind) }
    }

    /// A string of exactly `N` bytes.
    pub fn array<const N: usize>(&self) -> Result<[u8; N], RlpError> {
        self.string()?.try_into().map_err(|_| RlpError::Length)
    }

    /// An unsigned number: big-endian without leading zeros, zero as the empty string.
    pub fn u64(&self) -> Result<u64, RlpError> {
        let bytes = self.string()?;
        if bytes.first() == Some(&0) || bytes.len() > 8 {
            return Err(RlpError::Number);
        }
        Ok(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// A 16-bit number.
    pub fn u16(&self) -> Result<u16, RlpError> {
        u16::try_from(self.u64()?).map_err(|_| RlpError::Number)
    }
}

/// Reads values one after another.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over concatenated values.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether every value was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next value. Only its own header is looked at: the values of a list are checked as they
    /// are read.
    pub fn next_item(&mut self) -> Result<Item<'a>, RlpError> {
        let header = Header::decode(self.rest)?;
        let end = header.size.checked_add(header.payload).ok_or(RlpError::Short)?;
        let raw = self.rest.get(..end).ok_or(RlpError::Short)?;
        let payload = &raw[header.size..];
        if header.size == 1 && !header.is_list && payload.len() == 1 && payload[0] < 0x80 {
            return Err(RlpError::NonCanonical);
        }
        self.rest = &self.rest[end..];
        Ok(Item { is_list: header.is_list, payload, raw })
    }

    /// Fails when anything is left.
    pub fn finish(&self) -> Result<(), RlpError> {
        if self.is_empty() { Ok(()) } else { Err(RlpError::Trailing) }
    }
}

/// Checks that a value and everything inside it is canonical. A list is walked to `MAX_DEPTH`;
/// deeper nesting is refused, so that the stack stays bounded.
pub fn check_canonical(item: &Item<'_>) -> Result<(), RlpError> {
    const MAX_DEPTH: usize = 16;
    fn walk(item: &Item<'_>, depth: usize) -> Result<(), RlpError> {
        if !item.is_list {
            return Ok(());
        }
        if depth == 0 {
            return Err(RlpError::NonCanonical);
        }
        let mut reader = Reader::new(item.payload);
        while !reader.is_empty() {
            walk(&reader.next_item()?, depth - 1)?;
        }
        Ok(())
    }
    walk(item, MAX_DEPTH)
}

/// Decodes exactly one value.
pub fn decode_one(bytes: &[u8]) -> Result<Item<'_>, RlpError> {
    let mut reader = Reader::new(bytes);
    let item = reader.next_item()?;
    reader.finish()?;
    Ok(item)
}

struct Header {
    is_list: bool,
    size: usize,
    payload: usize,
}

impl Header {
    fn decode(bytes: &[u8]) -> Result<Self, RlpError> {
        let first = *bytes.first().ok_or(RlpError::Short)?;
        let (is_list, base) = if first < 0xc0 { (false, 0x80) } else { (true, 0xc0) };
        if first < 0x80 {
            return Ok(Self { is_list, size: 0, payload: 1 });
        }
        let short = usize::from(first - base);
        if short < 56 {
            return Ok(Self { is_list, size: 1, payload: short });
        }
        let digits = bytes.get(1..1 + (short - 55)).ok_or(RlpError::Short)?;
        if digits[0] == 0 {
            return Err(RlpError::NonCanonical);
        }
        // A length that takes more than four bytes cannot be in any buffer of ours.
        if digits.len() > 4 {
            return Err(RlpError::Short);
        }
        let payload = digits.iter().fold(0, |n, b| n << 8 | usize::from(*b));
        if payload < 56 {
            return Err(RlpError::NonCanonical);
        }
        Ok(Self { is_list, size: 1 + digits.len(), payload })
    }
}

/// The buffer of a [`Writer`] is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer is too small for the RLP")]
pub struct BufferTooSmall;

/// Writes values one after another into a slice.
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// A writer at the start of `buf`.
    pub const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// Bytes written.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes as they are: values that are encoded already.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<&mut Self, BufferTooSmall> {
        let end = self.len.checked_add(bytes.len()).ok_or(BufferTooSmall)?;
        self.buf.get_mut(self.len..end).ok_or(BufferTooSmall)?.copy_from_slice(bytes);
        self.len = end;
        Ok(self)
    }

    /// Appends a string.
    pub fn string(&mut self, bytes: &[u8]) -> Result<&mut Self, BufferTooSmall> {
        if let [byte @ 0..0x80] = bytes {
            return self.raw(&[*byte]);
        }
        self.header(0x80, bytes.len())?.raw(bytes)
    }

    /// Appends a number.
    pub fn u64(&mut self, n: u64) -> Result<&mut Self, BufferTooSmall> {
        let bytes = n.to_be_bytes();
        self.string(&bytes[n.leading_zeros() as usize / 8..])
    }

    /// Appends the list that `write` writes. Its header is put in front once its length is known.
    pub fn list(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), BufferTooSmall>,
    ) -> Result<&mut Self, BufferTooSmall> {
        let start = self.len;
        write(self)?;
        let payload = self.len - start;
        let header = header_len(payload);
        let end = self.len.checked_add(header).ok_or(BufferTooSmall)?;
        if end > self.buf.len() {
            return Err(BufferTooSmall);
        }
        self.buf.copy_within(start..self.len, start + header);
        self.len = start;
        self.header(0xc0, payload)?;
        self.len = end;
        Ok(self)
    }

    fn header(&mut self, base: u8, payload: usize) -> Result<&mut Self, BufferTooSmall> {
        if payload < 56 {
            return self.raw(&[base + payload as u8]);
        }
        let bytes = (payload as u64).to_be_bytes();
        let digits = &bytes[8 - (header_len(payload) - 1)..];
        self.raw(&[base + 55 + digits.len() as u8])?.raw(digits)
    }
}

/// Bytes that the header of a payload of this length takes (a single byte below 0x80 has none).
pub const fn header_len(payload: usize) -> usize {
    if payload < 56 { 1 } else { 1 + (8 - (payload as u64).leading_zeros() as usize / 8) }
}

/// Writes the header of a list with `payload` bytes of content (at most 65,535) and returns its
/// length.
pub fn list_header(payload: usize, out: &mut [u8; 4]) -> usize {
    let mut writer = Writer::new(out);
    // Four bytes hold the header of any list below 16 MiB.
    let _ = writer.header(0xc0, payload);
    writer.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(write: impl FnOnce(&mut Writer<'_>) -> Result<(), BufferTooSmall>) -> ([u8; 600], usize) {
        let mut buf = [0; 600];
        let mut writer = Writer::new(&mut buf);
        write(&mut writer).unwrap();
        let len = writer.len();
        (buf, len)
    }

    #[test]
    fn known_values() {
        let (buf, len) = encoded(|w| w.string(b"dog").map(drop));
        assert_eq!(&buf[..len], b"\x83dog");
        let (buf, len) = encoded(|w| w.list(|w| w.string(b"cat")?.string(b"dog").map(drop)).map(drop));
        assert_eq!(&buf[..len], b"\xc8\x83cat\x83dog");
        let (buf, len) = encoded(|w| w.u64(0)?.u64(15)?.u64(1024).map(drop));
        assert_eq!(&buf[..len], b"\x80\x0f\x82\x04\x00");
        let (buf, len) = encoded(|w| w.list(|_| Ok(())).map(drop));
        assert_eq!(&buf[..len], b"\xc0");
    }

    #[test]
    fn long_strings_and_lists_round_trip() {
        for size in [0, 1, 55, 56, 255, 256, 500] {
            let body = [0xaa; 500];
            let (buf, len) = encoded(|w| w.list(|w| w.string(&body[..size]).map(drop)).map(drop));
            let item = decode_one(&buf[..len]).unwrap();
            let mut list = item.list().unwrap();
            assert_eq!(list.next_item().unwrap().string().unwrap(), &body[..size]);
            list.finish().unwrap();
        }
    }

    #[test]
    fn every_other_form_is_refused() {
        for (bytes, error) in [
            (&b""[..], RlpError::Short),
            (b"\x81\x05", RlpError::NonCanonical),
            (b"\x83do", RlpError::Short),
            (b"\xb8\x02ab", RlpError::NonCanonical),
            (b"\xb9\x00\x40", RlpError::NonCanonical),
            (b"\xf8\x01\x80", RlpError::NonCanonical),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff", RlpError::Short),
            (b"\x05\x05", RlpError::Trailing),
        ] {
            assert_eq!(decode_one(bytes).unwrap_err(), error, "{bytes:02x?}");
        }
        assert_eq!(decode_one(b"\x82\x00\x01").unwrap().u64(), Err(RlpError::Number));
        assert_eq!(decode_one(b"\x00").unwrap().u64(), Err(RlpError::Number));
        assert_eq!(decode_one(b"\x83\x01\x00\x00").unwrap().u16(), Err(RlpError::Number));
        let deep = [0xc1; 40];
        let item = Item { is_list: true, payload: &deep, raw: &deep };
        assert!(check_canonical(&item).is_err());
    }

    #[test]
    fn a_small_buffer_is_an_error() {
        let mut buf = [0; 3];
        assert!(Writer::new(&mut buf).string(b"dog").is_err());
        assert!(Writer::new(&mut buf).list(|w| w.string(b"do").map(drop)).is_err());
    }
}
