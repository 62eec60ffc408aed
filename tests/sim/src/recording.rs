//! What a run drew, kept so that it can be drawn again.
//!
//! Purpose: a [`Recording`] holds the answers of every lane in the order in which they were given. Its byte form
//! is small (one to three bytes an answer) and stable.
//!
//! Form, with `v` an unsigned LEB128 number: the four bytes `CCR1`, then for every name: v(length) name
//! v(number of lanes), then for every lane: v(index) v(length) answers, each answer a `v`. Names and indexes
//! ascend.

use std::collections::BTreeMap;
use std::fmt;

use crate::choices::Lane;

const MAGIC: &[u8; 4] = b"CCR1";

/// The answers of a run, lane by lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    names: BTreeMap<String, BTreeMap<u64, Answers>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answers {
    count: u64,
    bytes: Vec<u8>,
}

impl Answers {
    fn unpack(&self) -> Vec<u64> {
        let mut reader = Reader { bytes: &self.bytes, at: 0 };
        std::iter::from_fn(|| reader.number().ok()).collect()
    }
}

impl Recording {
    /// How many answers are held.
    #[must_use]
    pub fn draws(&self) -> u64 {
        self.names.values().flat_map(BTreeMap::values).map(|answers| answers.count).sum()
    }

    /// How many of them are not 0, that is, not the mildest: what shrinking brings down.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.lanes().map(|(_, _, answers)| answers.iter().filter(|answer| **answer != 0).count() as u64).sum()
    }

    /// Every lane: its name, its index, and its answers in the order in which they were given. Names and
    /// indexes ascend.
    pub fn lanes(&self) -> impl Iterator<Item = (&str, u64, Vec<u64>)> {
        self.names.iter().flat_map(|(name, lanes)| {
            lanes.iter().map(|(index, answers)| (name.as_str(), *index, answers.unpack()))
        })
    }

    /// A recording of these lanes.
    #[must_use]
    pub fn from_lanes<'a>(lanes: impl IntoIterator<Item = (&'a str, u64, &'a Vec<u64>)>) -> Self {
        let mut recording = Self::default();
        for (name, index, answers) in lanes {
            for answer in answers {
                recording.push_named(name, index, *answer);
            }
        }
        recording
    }

    /// The byte form: small (one to three bytes an answer, as a rule) and stable.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (name, lanes) in &self.names {
            push_number(&mut out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
            push_number(&mut out, lanes.len() as u64);
            for (index, answers) in lanes {
                push_number(&mut out, *index);
                push_number(&mut out, answers.bytes.len() as u64);
                out.extend_from_slice(&answers.bytes);
            }
        }
        out
    }

    /// Reads the byte form.
    ///
    /// # Errors
    ///
    /// [`BadRecording`], with the place in the bytes, where they are not what [`Recording::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadRecording> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(BadRecording { at: 0 });
        }
        let mut recording = Self::default();
        while reader.at < bytes.len() {
            let at = reader.at;
            let length = reader.length()?;
            let name = std::str::from_utf8(reader.take(length)?).map_err(|_| BadRecording { at })?;
            let mut lanes = BTreeMap::new();
            for _ in 0..reader.number()? {
                let index = reader.number()?;
                let length = reader.length()?;
                let at = reader.at;
                let bytes = reader.take(length)?.to_vec();
                let count = count_numbers(&bytes).ok_or(BadRecording { at })?;
                lanes.insert(index, Answers { count, bytes });
            }
            recording.names.insert(name.to_owned(), lanes);
        }
        Ok(recording)
    }

    pub(crate) fn push(&mut self, lane: Lane, answer: u64) {
        self.push_named(lane.name, lane.index, answer);
    }

    fn push_named(&mut self, name: &str, index: u64, answer: u64) {
        let lanes = match self.names.get_mut(name) {
            Some(lanes) => lanes,
            None => self.names.entry(name.to_owned()).or_default(),
        };
        let answers = lanes.entry(index).or_default();
        answers.count += 1;
        push_number(&mut answers.bytes, answer);
    }

    pub(crate) fn next(&self, lane: Lane, cursor: &mut Cursor) -> Option<u64> {
        let answers = self.names.get(lane.name)?.get(&lane.index)?;
        let mut reader = Reader { bytes: &answers.bytes, at: cursor.0 };
        let answer = reader.number().ok()?;
        cursor.0 = reader.at;
        Some(answer)
    }
}

/// How far a lane has been replayed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor(usize);

/// These bytes are not a recording. Was the file cut short, or written by another version?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecording {
    /// The offset of the first byte that makes no sense.
    pub at: usize,
}

impl fmt::Display for BadRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a recording of choices (it breaks off at byte {}): was it cut short?", self.at)
    }
}

impl std::error::Error for BadRecording {}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], BadRecording> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(BadRecording { at: self.at })?;
        self.at += length;
        Ok(taken)
    }

    fn length(&mut self) -> Result<usize, BadRecording> {
        let at = self.at;
        usize::try_from(self.number()?).map_err(|_| BadRecording { at })
    }

    fn number(&mut self) -> Result<u64, BadRecording> {
        let start = self.at;
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take(1)?[0];
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadRecording { at: start })
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn count_numbers(bytes: &[u8]) -> Option<u64> {
    let mut reader = Reader { bytes, at: 0 };
    let mut count = 0;
    while reader.at < bytes.len() {
        reader.number().ok()?;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_is_noticed_or_a_shorter_recording_and_never_a_panic() {
        let mut recording = Recording::default();
        for answer in [0, 1, 127, 128, u64::MAX] {
            recording.push(Lane { name: "a", index: 3 }, answer);
            recording.push(Lane { name: "bb", index: 0 }, answer);
        }
        let bytes = recording.to_bytes();
        assert_eq!(Recording::from_bytes(&bytes).unwrap(), recording);
        for cut in 0..bytes.len() {
            if let Ok(shorter) = Recording::from_bytes(&bytes[..cut]) {
                assert!(shorter.draws() < recording.draws(), "cut at {cut}");
            }
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                assert_ne!(Recording::from_bytes(&wrong).ok(), Some(recording.clone()));
            }
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        let mut reader =
            Reader { bytes: &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], at: 0 };
        assert!(reader.number().is_err());
    }
}
