//! Rules N1, N4 and N8 over every bit and every byte of what both sides say, with and without early
//! muxer negotiation: however the bytes are changed, cut, spliced or chunked, both sides end with one
//! view, or at most the initiator believes itself done, and hears nothing more.

use std::println;

use super::*;
use crate::testing::Cheap;

const EARLY: Options = Options { expected: None, early_muxer: true };

/// Two nodes: identities and static keys are made once, ephemeral keys by session.
struct Nodes {
    identities: [Identity<Cheap>; 2],
    keys: [StaticKey; 2],
}

/// What the bytes of one side, from this offset on, become: one or more chunks.
type Wire<'a> = &'a dyn Fn(usize, usize, Vec<u8>) -> Vec<Vec<u8>>;

/// How a handshake ended.
#[derive(Debug, Default)]
struct Ends {
    /// Both completed, and see the same.
    same: usize,
    /// One side found the other at fault.
    refused: usize,
    /// Both wait for more: the deadline ends it.
    stalled: usize,
    /// The initiator has sent its last message, and the responder does not complete.
    initiator_alone: usize,
}

impl Ends {
    fn all(&self) -> usize {
        self.same + self.refused + self.stalled + self.initiator_alone
    }
}

impl Nodes {
    fn new() -> Self {
        let crypto = Cheap::exact();
        let secrets = [1, 2].map(|n| SecretKey::from_bytes(&[n; 32]).unwrap());
        let identities = secrets.map(|secret| Identity::new(crypto.clone(), secret));
        let keys = [0, 1]
            .map(|n| StaticKey::new(&identities[n], &mut Seed::new([n as u8; 32]).stream("static key")));
        Self { identities, keys }
    }

    /// One handshake; returns both machines, and what each side said.
    fn talk(&self, options: Options, session: u8, wire: Wire<'_>) -> (Initiator, Responder, [Vec<u8>; 2]) {
        let seed = Seed::new([session; 32]);
        let mut a = Initiator::new(&self.keys[0], &mut seed.stream("initiator"), options);
        let mut b = Responder::new(&self.keys[1], &mut seed.stream("responder"), options);
        let mut said = [Vec::new(), Vec::new()];
        let mut held = [Vec::new(), Vec::new()];
        loop {
            let mut buf = [0; HANDSHAKE_WRITE_SIZE];
            let mut silent = true;
            for who in 0..2 {
                let n = match who {
                    0 => a.poll_write(&self.identities[0], &mut buf),
                    _ => b.poll_write(&self.identities[1], &mut buf),
                };
                silent &= n == 0;
                let at = said[who].len();
                said[who].extend_from_slice(&buf[..n]);
                for chunk in wire(who, at, buf[..n].to_vec()) {
                    let held = &mut held[who];
                    held.extend(chunk);
                    // An error stays: the machine is dead then, and takes nothing more.
                    let taken = match who {
                        0 => b.handle_bytes(&self.identities[1], held),
                        _ => a.handle_bytes(&self.identities[0], held),
                    };
                    held.drain(..taken.unwrap_or(0));
                }
            }
            if silent {
                return (a, b, said);
            }
        }
    }

    fn stream(&self, options: Options, session: u8) -> [Vec<u8>; 2] {
        self.talk(options, session, &|_, _, bytes| vec![bytes]).2
    }

    /// Talks, and sees to it that nobody completed with a view of its own.
    fn judge(&self, ends: &mut Ends, options: Options, what: &str, wire: Wire<'_>) {
        let (a, b, _) = self.talk(options, 0, wire);
        let failed = [a.state(), b.state()].contains(&HandshakeState::Failed);
        match (a.finish().ok(), b.finish().ok()) {
            (Some(a), Some(b)) => {
                assert_eq!(a.hash(), b.hash(), "{what}");
                let keys = [0, 1].map(|n| self.identities[n].public_key());
                assert_eq!((a.peer(), b.peer()), (keys[1], keys[0]), "{what}");
                assert_eq!(a.early_muxer(), b.early_muxer(), "{what}");
                ends.same += 1;
            }
            (Some(_), None) => ends.initiator_alone += 1,
            (None, Some(_)) => panic!("{what}: the responder completed alone"),
            (None, None) if failed => ends.refused += 1,
            (None, None) => ends.stalled += 1,
        }
    }
}

/// Bytes of the multistream lines, which come first: the header and `/noise`.
const LINES: usize = 28;

#[test]
fn every_bit_flipped() {
    let nodes = Nodes::new();
    let (mut lines, mut noise) = (Ends::default(), Ends::default());
    for options in [EARLY, QUIET] {
        for (who, stream) in nodes.stream(options, 0).iter().enumerate() {
            for bit in 0..8 * stream.len() {
                let flip = |side: usize, at: usize, mut bytes: Vec<u8>| {
                    if side == who
                        && let Some(byte) = (bit / 8).checked_sub(at).and_then(|i| bytes.get_mut(i))
                    {
                        *byte ^= 1 << (bit % 8);
                    }
                    vec![bytes]
                };
                let ends = if bit / 8 < LINES { &mut lines } else { &mut noise };
                nodes.judge(ends, options, &std::format!("bit {bit} of side {who}"), &flip);
            }
        }
    }
    println!("bits of the lines: {} flipped, {lines:?}", lines.all());
    println!("bits of the three Noise messages: {} flipped, {noise:?}", noise.all());
    assert_eq!(noise.same, 0, "a changed message was accepted");
    assert!(noise.refused > 0 && noise.initiator_alone > 0 && noise.all() > 4_000);
}

#[test]
fn every_split_gives_the_same() {
    let nodes = Nodes::new();
    let mut ends = Ends::default();
    for options in [EARLY, QUIET] {
        let streams = nodes.stream(options, 0);
        for (who, stream) in streams.iter().enumerate() {
            for split in 1..stream.len() {
                let cut = |side: usize, at: usize, mut bytes: Vec<u8>| {
                    let here = split.checked_sub(at).filter(|i| side == who && *i < bytes.len());
                    match here {
                        Some(i) => {
                            let rest = bytes.split_off(i);
                            vec![bytes, rest]
                        }
                        None => vec![bytes],
                    }
                };
                nodes.judge(&mut ends, options, &std::format!("split {split} of side {who}"), &cut);
                assert_eq!(nodes.talk(options, 0, &cut).2, streams, "both say the same");
            }
        }
    }
    println!("{} split points: {ends:?}", ends.all());
    assert_eq!(ends.same, ends.all());
}

/// The rest never comes: nobody is refused, nobody completes but the initiator that has said its last.
#[test]
fn every_truncation_stalls() {
    let nodes = Nodes::new();
    let mut ends = Ends::default();
    for options in [EARLY, QUIET] {
        for (who, stream) in nodes.stream(options, 0).iter().enumerate() {
            for end in 0..stream.len() {
                let cut = |side: usize, at: usize, mut bytes: Vec<u8>| {
                    if side == who {
                        bytes.truncate(end.saturating_sub(at));
                    }
                    vec![bytes]
                };
                nodes.judge(&mut ends, options, &std::format!("side {who} cut to {end}"), &cut);
            }
        }
    }
    println!("{} truncations: {ends:?}", ends.all());
    assert_eq!(ends.stalled + ends.initiator_alone, ends.all());
}

/// Two sessions of the same two nodes: every head and every tail of one in the other, and every message
/// of either, from either side, in the place of every message.
#[test]
fn every_splice() {
    let nodes = Nodes::new();
    let mut ends = Ends::default();
    let [own, other] = [0, 1].map(|session| nodes.stream(EARLY, session));
    for who in 0..2 {
        assert_eq!(own[who].len(), other[who].len());
        for point in 0..=own[who].len() {
            for head in [true, false] {
                let mut spliced = own[who].clone();
                let range = if head { 0..point } else { point..spliced.len() };
                spliced[range.clone()].copy_from_slice(&other[who][range]);
                if spliced == own[who] {
                    continue;
                }
                let splice = |side: usize, at: usize, bytes: Vec<u8>| {
                    let end = at + bytes.len();
                    vec![if side == who { spliced[at..end].to_vec() } else { bytes }]
                };
                let what = std::format!("side {who} spliced at {point}, head {head}");
                nodes.judge(&mut ends, EARLY, &what, &splice);
            }
        }
    }
    let heads_and_tails = ends.all();
    // Message 1 and 3 are the initiator's, 2 the responder's.
    let second = LINES + 34;
    let messages = [(0, LINES..second), (1, LINES..own[1].len()), (0, second..own[0].len())];
    for (who, place) in &messages {
        for source in [&own, &other] {
            for (side, range) in &messages {
                let foreign = &source[*side][range.clone()];
                if *foreign == own[*who][place.clone()] {
                    continue;
                }
                let replace = |side: usize, at: usize, bytes: Vec<u8>| {
                    vec![if side == *who && at == place.start { foreign.to_vec() } else { bytes }]
                };
                let what = std::format!("{side} {range:?} in the place of {who} {place:?}");
                nodes.judge(&mut ends, EARLY, &what, &replace);
            }
        }
    }
    println!("{heads_and_tails} heads and tails, {} messages: {ends:?}", ends.all() - heads_and_tails);
    assert_eq!(ends.same, 0);
    assert!(heads_and_tails > 800 && ends.all() - heads_and_tails == 15);
}

/// Each side hears what it says itself, and what it said in another session.
#[test]
fn every_reflection() {
    let nodes = Nodes::new();
    let mut ends = Ends::default();
    for options in [EARLY, QUIET] {
        for session in 0..2 {
            let streams = nodes.stream(options, session);
            // The responder hears the responder, the initiator the initiator, in turn and both.
            for who in [[true, false], [false, true], [true, true]] {
                let mirror = |side: usize, at: usize, bytes: Vec<u8>| {
                    let own = &streams[1 - side];
                    let end = own.len().min(at + bytes.len());
                    vec![if who[side] { own.get(at..end).unwrap_or_default().to_vec() } else { bytes }]
                };
                nodes.judge(&mut ends, options, &std::format!("{who:?} of session {session}"), &mirror);
            }
        }
    }
    println!("{} reflections: {ends:?}", ends.all());
    assert_eq!(ends.same, 0);
}
