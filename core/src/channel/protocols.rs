//! The names of the protocols that streams can speak, beside ping.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::select::Protocol;
use crate::{
    limits::{MAX_PROTOCOL_NAME, MAX_PROTOCOLS},
    wire::multistream,
};

/// Why a list of protocol names is refused; the position is the name's in the list, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolsError {
    /// More than [`MAX_PROTOCOLS`] names.
    #[error("more than {MAX_PROTOCOLS} protocols")]
    TooMany,
    /// A name is empty, does not begin with `/`, is longer than [`MAX_PROTOCOL_NAME`] bytes, or has a
    /// byte that is no printable ASCII.
    #[error("protocol name {0} is not `/` and up to {MAX_PROTOCOL_NAME} printable characters")]
    Name(usize),
    /// A name stands twice, or belongs to the channel itself (ping, the muxer, multistream-select).
    #[error("protocol name {0} is taken")]
    Taken(usize),
}

/// A list of protocol names, shared by all channels of a node. Cloning it allocates nothing.
#[derive(Clone, Debug)]
pub struct Protocols(Arc<[Box<[u8]>]>);

impl Protocols {
    /// No protocol but ping.
    pub fn none() -> Self {
        Self(Arc::from(Vec::new()))
    }

    /// The protocols with these names; their numbers are the positions.
    ///
    /// # Errors
    /// The first name that cannot be spoken.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ProtocolsError> {
        let mut list: Vec<Box<[u8]>> = Vec::new();
        for (i, name) in names.into_iter().enumerate() {
            if i == MAX_PROTOCOLS {
                return Err(ProtocolsError::TooMany);
            }
            let name = name.as_bytes();
            let fits = name.len() <= MAX_PROTOCOL_NAME && name.iter().all(u8::is_ascii_graphic);
            if !fits || name.first() != Some(&b'/') {
                return Err(ProtocolsError::Name(i));
            }
            let own = [Protocol::Yamux, Protocol::Ping].iter().any(|own| own.fixed_name() == Some(name));
            if own || name == multistream::HEADER || list.iter().any(|other| **other == *name) {
                return Err(ProtocolsError::Taken(i));
            }
            list.push(name.into());
        }
        Ok(Self(list.into()))
    }

    /// The name of a protocol; empty when there is none with this number.
    pub fn name(&self, number: u8) -> &[u8] {
        self.0.get(usize::from(number)).map_or(&[], |name| name)
    }

    /// The number of the protocol with this name.
    pub fn find(&self, name: &[u8]) -> Option<u8> {
        self.0.iter().position(|known| **known == *name).and_then(|i| u8::try_from(i).ok())
    }

    /// All names, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|name| &**name)
    }
}

/// Numbers are one byte.
const _: () = assert!(MAX_PROTOCOLS <= 256);

#[cfg(test)]
mod tests {
    use std::{format, string::String};

    use super::*;

    #[test]
    fn names_that_cannot_be_spoken_are_refused() {
        let refused = |names: &[&str]| Protocols::new(names.iter().copied()).unwrap_err();
        assert_eq!(refused(&["/a", "a"]), ProtocolsError::Name(1));
        assert_eq!(refused(&["/a\n"]), ProtocolsError::Name(0));
        assert_eq!(refused(&["/a", "/b", "/a"]), ProtocolsError::Taken(2));
        for own in ["/yamux/1.0.0", "/ipfs/ping/1.0.0", "/multistream/1.0.0"] {
            assert_eq!(refused(&[own]), ProtocolsError::Taken(0));
        }
        assert_eq!(refused(&[&format!("/{}", "a".repeat(MAX_PROTOCOL_NAME))]), ProtocolsError::Name(0));
        let many: Vec<String> = (0..=MAX_PROTOCOLS).map(|i| format!("/{i}")).collect();
        assert_eq!(Protocols::new(many.iter().map(String::as_str)).unwrap_err(), ProtocolsError::TooMany);
        let two = Protocols::new(["/a", "/b"]).unwrap();
        assert_eq!(
            (two.find(b"/b"), two.find(b"/c"), two.name(0), two.name(2)),
            (Some(1), None, &b"/a"[..], &b""[..])
        );
    }
}
