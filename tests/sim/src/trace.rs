//! The story of a run: a running hash of all of it, and its last lines.
//!
//! Purpose: every event and every output is one line of text, and each line, together with the payload it is
//! about, enters a SHA-256. Two runs with the same hash did the same, byte for byte. The last lines are kept to
//! be printed when something fails.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use crate::time::{Nanos, SECOND};

/// How many lines are kept unless the user says otherwise.
const KEPT: usize = 200;

#[derive(Debug)]
pub(crate) struct Trace {
    hash: Sha256,
    lines: VecDeque<String>,
    pub(crate) kept: usize,
    pub(crate) now: Nanos,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            hash: Sha256::new(),
            lines: VecDeque::new(),
            kept: KEPT,
            now: 0,
        }
    }

    /// Puts down a line, with the time before it, and the payload it is about.
    pub(crate) fn line(&mut self, what: fmt::Arguments<'_>, payload: &[u8]) {
        let mut line = String::new();
        while self.lines.len() >= self.kept {
            match self.lines.pop_front() {
                Some(oldest) => line = oldest,
                None => break,
            }
        }
        line.clear();
        let (seconds, nanos) = (self.now / SECOND, self.now % SECOND);
        // Writing to a string cannot fail, unless a foreign `Debug` says so: then what it wrote is the line.
        let _ = write!(line, "{seconds:>6}.{nanos:09} {what}");
        self.hash.update((line.len() as u64).to_le_bytes());
        self.hash.update(line.as_bytes());
        self.hash.update((payload.len() as u64).to_le_bytes());
        self.hash.update(payload);
        if self.kept > 0 {
            self.lines.push_back(line);
        }
    }

    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(self.hash.clone().finalize().into())
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// The hash over everything that happened in a run so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceHash(pub [u8; 32]);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_stay_and_all_of_them_count() {
        let mut short = Trace::new();
        short.kept = 2;
        let mut long = Trace::new();
        for trace in [&mut short, &mut long] {
            for number in 0..5 {
                trace.line(format_args!("line {number}"), b"payload");
            }
        }
        let kept: Vec<_> = short.lines().collect();
        assert_eq!(kept, ["     0.000000000 line 3", "     0.000000000 line 4"]);
        assert_eq!(long.lines().count(), 5);
        assert_eq!(short.hash(), long.hash());
        long.line(format_args!("line 5"), b"payload");
        short.line(format_args!("line 5"), b"other payload");
        assert_ne!(short.hash(), long.hash());
    }
}
