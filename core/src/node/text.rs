//! A short text held inline.

use core::{fmt, ops::Deref};

/// A text of at most `N` bytes, which a peer sent: printable ASCII. It reads like a `str`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text<const N: usize>(heapless::String<N>);

impl<const N: usize> Text<N> {
    pub(super) const fn new() -> Self {
        Self(heapless::String::new())
    }

    /// The printable part of a text that a peer sent, cut to its first `N` bytes.
    pub(super) fn printable(text: &[u8]) -> Self {
        let mut out = heapless::String::new();
        for byte in text.iter().take(N).filter(|byte| byte.is_ascii_graphic() || **byte == b' ') {
            let _ = out.push(char::from(*byte));
        }
        Self(out)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> PartialEq<&str> for Text<N> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
