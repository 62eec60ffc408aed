//! Where every nondeterministic decision of a run comes from.
//!
//! Purpose: one [`Choices`] answers every question that has more than one answer (is this datagram lost, how
//! late is it, which bytes is a machine seeded with). Questions are asked on *lanes*, named sub-streams with an
//! index: a draw on one lane never changes what another lane answers, so that a machine that sends one more
//! packet, or a new kind of fault, does not turn every later decision of the run into a different one.
//!
//! Invariants: the answers depend only on the source and on what was asked before on the same lane; 0 is always
//! the mildest answer (no fault, least delay, no split), so that a source that has run dry lets a run end
//! calmly; no float is involved.

use std::collections::BTreeMap;
use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::recording::{Cursor, Recording};

/// The number of parts in a whole, for [`Draw::chance`]: a rate of `MILLION` always happens.
pub const MILLION: u32 = 1_000_000;

/// The name of a sub-stream: what is decided, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// What is decided, for example `link.loss`.
    pub name: &'static str,
    /// For whom, for example the number of a node or a pair of nodes. Free for the asker to define.
    pub index: u64,
}

/// One question to a [`Source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A number from 0 to this one inclusive, all of them equally likely.
    UpTo(u64),
    /// 1 ("it happens") with this many chances in a million, else 0.
    Chance(u32),
}

impl Ask {
    /// The largest answer that is allowed. A larger one given by a source is cut to it.
    #[must_use]
    pub const fn largest(self) -> u64 {
        match self {
            Self::UpTo(largest) => largest,
            Self::Chance(_) => 1,
        }
    }
}

/// Something that answers questions. A seed, a recording, raw bytes and an
/// [`Enumerator`](crate::Enumerator) come with this crate.
pub trait Source {
    /// The answer to the next question on `lane`.
    fn answer(&mut self, lane: Lane, ask: Ask) -> u64;
}

/// The stream of all decisions of a run.
///
/// Questions are asked on lanes: sub-streams with a name and an index. What one lane answers does not depend on
/// what others were asked (raw bytes excepted, which all lanes share). 0 is always the mildest answer.
///
/// ```
/// use coracle_sim::Choices;
///
/// let mut choices = Choices::from_seed(7);
/// let first: Vec<u64> = (0..4).map(|_| choices.lane("dice", 0).choose(6)).collect();
///
/// let mut again = Choices::from_recording(choices.recording().clone());
/// again.lane("coin", 0).chance(500_000); // another lane disturbs nothing
/// let second: Vec<u64> = (0..4).map(|_| again.lane("dice", 0).choose(6)).collect();
/// assert_eq!(first, second);
/// assert_eq!(again.lane("dice", 0).choose(6), 0); // exhausted: the smallest choice
/// ```
pub struct Choices {
    origin: String,
    source: Box<dyn Source>,
    recording: Recording,
    recorded: bool,
    draws: u64,
}

impl Choices {
    /// Endless pseudo-random decisions (ChaCha8, one independent generator a lane).
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self::from_source(format!("seed {seed}"), Seeded { seed, lanes: BTreeMap::new() })
    }

    /// The decisions of an earlier run again, lane by lane. A lane that has run dry answers 0.
    #[must_use]
    pub fn from_recording(recording: Recording) -> Self {
        Self::from_source(
            format!("recording of {} draws", recording.draws()),
            Replayed { recording, cursors: BTreeMap::new() },
        )
    }

    /// Decisions made of any bytes at all, as a fuzzer produces them, in the order in which they are asked.
    /// When the bytes have run out, every answer is 0.
    ///
    /// Here, and only here, the lanes share one supply.
    #[must_use]
    pub fn from_raw_bytes(bytes: &[u8]) -> Self {
        Self::from_source(format!("{} raw bytes", bytes.len()), Raw { bytes: bytes.to_vec(), at: 0 })
    }

    /// Decisions from a source of your own. `origin` names it in failure reports.
    #[must_use]
    pub fn from_source(origin: impl Into<String>, source: impl Source + 'static) -> Self {
        Self {
            origin: origin.into(),
            source: Box::new(source),
            recording: Recording::default(),
            recorded: true,
            draws: 0,
        }
    }

    /// Keeps no recording, which saves one to three bytes a draw. A seed replays without one.
    #[must_use]
    pub fn without_recording(mut self) -> Self {
        self.recorded = false;
        self
    }

    /// The sub-stream `name`, for `index`.
    pub fn lane(&mut self, name: &'static str, index: u64) -> Draw<'_> {
        Draw { choices: self, lane: Lane { name, index } }
    }

    /// Everything drawn so far. Empty after [`Choices::without_recording`].
    #[must_use]
    pub const fn recording(&self) -> &Recording {
        &self.recording
    }

    /// What the decisions come from, in words: `seed 42`, for example.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many decisions were drawn so far.
    #[must_use]
    pub const fn draws(&self) -> u64 {
        self.draws
    }

    fn ask(&mut self, lane: Lane, ask: Ask) -> u64 {
        let answer = self.source.answer(lane, ask).min(ask.largest());
        self.draws += 1;
        if self.recorded {
            self.recording.push(lane, answer);
        }
        answer
    }
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choices")
            .field("origin", &self.origin)
            .field("draws", &self.draws)
            .finish_non_exhaustive()
    }
}

/// One lane of a [`Choices`], ready to be asked.
#[derive(Debug)]
pub struct Draw<'a> {
    choices: &'a mut Choices,
    lane: Lane,
}

impl Draw<'_> {
    /// A number below `n`. Where there is nothing to choose (`n` is 0 or 1) it is 0, and nothing is drawn.
    pub fn choose(&mut self, n: u64) -> u64 {
        match n {
            0 | 1 => 0,
            n => self.choices.ask(self.lane, Ask::UpTo(n - 1)),
        }
    }

    /// True with `per_million` chances in a million. What is certain (0, or a million and more) is not drawn.
    pub fn chance(&mut self, per_million: u32) -> bool {
        match per_million {
            0 => false,
            MILLION.. => true,
            rate => self.choices.ask(self.lane, Ask::Chance(rate)) == 1,
        }
    }

    /// A number from `low` to `high`, both included; `low` where `high` is not above it.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        low + self.choices.ask(self.lane, Ask::UpTo(high - low))
    }

    /// Fills `buf`, one draw a byte.
    pub fn bytes(&mut self, buf: &mut [u8]) {
        for byte in buf {
            *byte = self.choices.ask(self.lane, Ask::UpTo(0xff)).to_le_bytes()[0];
        }
    }
}

/// One ChaCha8 generator a lane, its key made of the seed and the lane.
struct Seeded {
    seed: u64,
    lanes: BTreeMap<Lane, ChaCha8Rng>,
}

impl Seeded {
    fn generator(seed: u64, lane: Lane) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&fnv1a(lane.name.as_bytes()).to_le_bytes());
        key[16..24].copy_from_slice(&lane.index.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }
}

impl Source for Seeded {
    fn answer(&mut self, lane: Lane, ask: Ask) -> u64 {
        let seed = self.seed;
        let generator = self.lanes.entry(lane).or_insert_with(|| Self::generator(seed, lane));
        let drawn = generator.next_u64();
        match ask {
            Ask::UpTo(u64::MAX) => drawn,
            Ask::UpTo(largest) => scaled(drawn, largest + 1),
            Ask::Chance(rate) => u64::from(scaled(drawn, u64::from(MILLION)) < u64::from(rate)),
        }
    }
}

struct Replayed {
    recording: Recording,
    cursors: BTreeMap<Lane, Cursor>,
}

impl Source for Replayed {
    fn answer(&mut self, lane: Lane, _ask: Ask) -> u64 {
        let cursor = self.cursors.entry(lane).or_default();
        self.recording.next(lane, cursor).unwrap_or(0)
    }
}

struct Raw {
    bytes: Vec<u8>,
    at: usize,
}

impl Raw {
    fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at = self.at.saturating_add(1);
        byte
    }
}

impl Source for Raw {
    fn answer(&mut self, _lane: Lane, ask: Ask) -> u64 {
        let largest = ask.largest();
        // As few bytes as can hold the answer, so that a fuzzer's bytes go a long way.
        let width = (u64::BITS - largest.leading_zeros()).div_ceil(8);
        let drawn = (0..width).fold(0, |sum: u64, _| (sum << 8) | u64::from(self.byte()));
        match largest {
            u64::MAX => drawn,
            largest => drawn % (largest + 1),
        }
    }
}

/// `drawn`, uniform over all of `u64`, brought below `n`. The bias is less than `n` in 2^64.
fn scaled(drawn: u64, n: u64) -> u64 {
    let product = u128::from(drawn) * u128::from(n);
    u64::try_from(product >> 64).unwrap_or(0)
}

/// FNV-1a, 64 bits: the same on every platform, for ever.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(choices: &mut Choices, name: &'static str, count: usize) -> Vec<u64> {
        (0..count).map(|_| choices.lane(name, 0).choose(1000)).collect()
    }

    #[test]
    fn lanes_do_not_disturb_each_other() {
        let mut alone = Choices::from_seed(1);
        let mut mixed = Choices::from_seed(1);
        let expected = draw(&mut alone, "a", 50);
        let mut seen = Vec::new();
        for _ in 0..50 {
            mixed.lane("b", 0).choose(9);
            mixed.lane("a", 1).choose(9);
            seen.extend(draw(&mut mixed, "a", 1));
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn another_seed_answers_otherwise() {
        let one = draw(&mut Choices::from_seed(1), "a", 20);
        let two = draw(&mut Choices::from_seed(2), "a", 20);
        assert_ne!(one, two);
    }

    #[test]
    fn the_generator_never_changes() {
        // Seeds people wrote down must go on meaning the same run.
        assert_eq!(draw(&mut Choices::from_seed(42), "a", 4), GOLDEN);
    }
    const GOLDEN: [u64; 4] = [219, 90, 672, 344];

    #[test]
    fn chances_come_as_often_as_asked() {
        let mut choices = Choices::from_seed(3);
        let hits = (0..100_000).filter(|_| choices.lane("c", 0).chance(30_000)).count();
        assert!((2_700..3_300).contains(&hits), "{hits} of about 3000");
    }

    #[test]
    fn what_is_certain_is_not_drawn() {
        let mut choices = Choices::from_seed(3);
        assert!(!choices.lane("c", 0).chance(0));
        assert!(choices.lane("c", 0).chance(MILLION));
        assert_eq!(choices.lane("c", 0).choose(1), 0);
        assert_eq!(choices.lane("c", 0).between(5, 5), 5);
        assert_eq!(choices.draws(), 0);
    }

    #[test]
    fn answers_stay_in_their_bounds() {
        for mut choices in [
            Choices::from_seed(4),
            Choices::from_raw_bytes(&[0xff; 5000]),
            Choices::from_source("wild", Wild),
        ] {
            for n in 1..300 {
                assert!(choices.lane("x", 0).choose(n) < n);
                assert!((n..=n + 7).contains(&choices.lane("y", 0).between(n, n + 7)));
            }
            choices.lane("z", 0).between(0, u64::MAX);
        }
    }

    struct Wild;
    impl Source for Wild {
        fn answer(&mut self, _lane: Lane, _ask: Ask) -> u64 {
            u64::MAX
        }
    }

    #[test]
    fn a_recording_gives_the_same_answers_through_bytes() {
        let mut choices = Choices::from_seed(5);
        let mut buf = [0; 40];
        choices.lane("key", 9).bytes(&mut buf);
        let numbers = draw(&mut choices, "n", 30);
        let big = choices.lane("big", 0).between(0, u64::MAX);

        let bytes = choices.recording().to_bytes();
        let recording = Recording::from_bytes(&bytes).unwrap();
        assert_eq!(&recording, choices.recording());
        let mut again = Choices::from_recording(recording);
        let mut seen = [0; 40];
        assert_eq!(again.lane("big", 0).between(0, u64::MAX), big);
        assert_eq!(draw(&mut again, "n", 30), numbers);
        again.lane("key", 9).bytes(&mut seen);
        assert_eq!(seen, buf);
        assert_eq!(again.lane("n", 0).choose(1000), 0, "exhausted");
    }

    #[test]
    fn raw_bytes_run_dry_into_zeros() {
        let mut choices = Choices::from_raw_bytes(&[7, 1]);
        assert_eq!(choices.lane("a", 0).choose(256), 7);
        assert!(choices.lane("b", 0).chance(1));
        assert_eq!(choices.lane("a", 0).choose(256), 0);
        assert!(!choices.lane("b", 0).chance(999_999));
    }
}
