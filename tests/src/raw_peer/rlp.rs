//! RLP as a tree: enough to write any message, well-formed or not, and to read those of the node under test.

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rlp {
    /// A byte string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Rlp>),
    /// Bytes that are written as they are.
    Raw(Vec<u8>),
}

impl Rlp {
    /// A byte string.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }

    /// A number: big-endian without leading zeros.
    pub fn number(number: u64) -> Self {
        let bytes = number.to_be_bytes();
        Self::bytes(&bytes[number.leading_zeros() as usize / 8..])
    }

    /// Writes the item.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes.clone(),
            Self::Bytes(bytes) if bytes.len() == 1 && bytes[0] < 0x80 => bytes.clone(),
            Self::Bytes(bytes) => with_header(0x80, bytes),
            Self::List(items) => with_header(0xc0, &items.iter().flat_map(Self::encode).collect::<Vec<_>>()),
        }
    }

    /// Reads one item that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (item, rest) = Self::first(bytes)?;
        rest.is_empty().then_some(item)
    }

    /// The bytes of a string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The value of a number.
    pub fn as_number(&self) -> Option<u64> {
        let bytes = self.as_bytes().filter(|bytes| bytes.len() <= 8 && bytes.first() != Some(&0))?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The items of a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    fn first(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&tag, rest) = bytes.split_first()?;
        if tag < 0x80 {
            return Some((Self::bytes(&[tag]), rest));
        }
        let (list, short) = (tag >= 0xc0, tag & 0x3f);
        let (len, rest) = match short {
            0..=55 => (usize::from(short), rest),
            _ => {
                let (size, rest) = rest.split_at_checked(usize::from(short) - 55)?;
                (size.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
        };
        let (mut content, rest) = rest.split_at_checked(len)?;
        if !list {
            return Some((Self::bytes(content), rest));
        }
        let mut items = Vec::new();
        while !content.is_empty() {
            let (item, left) = Self::first(content)?;
            items.push(item);
            content = left;
        }
        Some((Self::List(items), rest))
    }
}

fn with_header(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if content.len() <= 55 {
        out.push(kind + content.len() as u8);
    } else {
        let len = content.len().to_be_bytes();
        let len = &len[content.len().leading_zeros() as usize / 8..];
        out.push(kind + 55 + len.len() as u8);
        out.extend_from_slice(len);
    }
    out.extend_from_slice(content);
    out
}
