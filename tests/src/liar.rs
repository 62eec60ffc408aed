//! A node that lies: a whole node, whose words are changed before they are sealed.
//!
//! Purpose: who follows the protocol gets everywhere, into sessions, tables, lookups and channels; this one does,
//! and lies there. What it says keeps its length, because it is changed where it is sealed. Same seed, same lies:
//! each follows from the key and nonce it is sealed with, so that a packet sealed again says the same again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::rc::Rc;

use coracle_core::crypto::{Crypto as _, Identity, RustCrypto, SecretKey};
use coracle_core::record::{Builder, Record};
use coracle_sim::{Nanos, SECOND, StreamId};

use crate::cluster::home;
use crate::nonces::Spied;
use crate::plan::Lie;

/// Where all who lie say that others are.
pub const FALSE_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
/// Where nobody is, and liars claim to be.
const VICTIM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
/// How long a claimed address is claimed.
const CLAIM: Nanos = 7 * SECOND;
/// What is read of a stream before it stalls: more than a handshake has.
const STALL_AFTER: u64 = 1_000;
/// Every so many sealings one has a wrong byte.
const JUNK_EVERY: u8 = 16;
/// What stands before a record's key: its name, and the head of 33 bytes.
const KEY: &[u8] = b"\x89secp256k1\xa1";
/// What stands before a record's IPv4 address.
const IP4: &[u8] = b"\x82ip\x84";

/// How often each lie was told.
pub type Told = Rc<RefCell<BTreeMap<Lie, u64>>>;

/// What makes a node a liar; shared by all its starts.
#[derive(Clone, Debug)]
pub struct Lies {
    /// What it lies about.
    pub kinds: Vec<Lie>,
    /// Where lies are counted.
    pub told: Told,
}

/// Records by the key of their owner and their length.
type Old = BTreeMap<([u8; 33], usize), Vec<u8>>;

/// One start of a liar.
#[derive(Debug)]
pub struct Liar {
    lies: Lies,
    seed: [u8; 32],
    secret: [u8; 32],
    key: [u8; 33],
    /// The first record of each length that it had of each key.
    old: RefCell<Old>,
    claims: Cell<Nanos>,
    read: RefCell<BTreeMap<StreamId, u64>>,
}

impl Liar {
    /// A liar with this key.
    ///
    /// # Panics
    ///
    /// If the key is none.
    pub fn new(lies: Lies, secret: [u8; 32], seed: [u8; 32]) -> Self {
        let key = RustCrypto.public_key(&SecretKey::from_bytes(&secret).expect("a valid key")).compressed();
        let (old, read) = (RefCell::default(), RefCell::default());
        Self { lies, seed, secret, key, old, claims: Cell::new(0), read }
    }

    fn tells(&self, lie: Lie) -> bool {
        let tells = self.lies.kinds.contains(&lie);
        if tells {
            *self.lies.told.borrow_mut().entry(lie).or_default() += 1;
        }
        tells
    }

    fn has(&self, lie: Lie) -> bool {
        self.lies.kinds.contains(&lie)
    }

    /// Random bytes that follow from these.
    fn draw(&self, what: &[&[u8]]) -> [u8; 32] {
        RustCrypto.sha256(&[&self.seed, what.concat().as_slice()])
    }

    /// A discv5 message before it is sealed.
    pub(crate) fn message(&self, key: &[u8], nonce: &[u8], text: &mut [u8]) {
        let kind = text.first().copied();
        if kind == Some(PONG) && has_ip4(text) && self.tells(Lie::Votes) {
            let ip = text.len() - 7..text.len() - 3;
            text[ip].copy_from_slice(&FALSE_ADDRESS.octets());
        }
        if matches!(kind, Some(PING | PONG))
            && let Some(at) = number(text)
            && self.tells(Lie::Numbers)
        {
            // Its last byte: the integer stays a canonical one.
            text[at] = (text[at] ^ self.draw(&[nonce])[0] & 0x3f).max(1);
        }
        self.words(key, nonce, text);
    }

    /// A frame of a channel before it is sealed.
    pub(crate) fn frame(&self, key: &[u8], nonce: &[u8], text: &mut [u8]) {
        // Identify's observed address: field 4, eight bytes, an IPv4 address with a TCP port.
        let observed = text.windows(8).position(|at| at[..3] == [0x22, 8, 4] && at[7] == 6);
        if let Some(at) = observed
            && self.tells(Lie::Votes)
        {
            text[at + 3..at + 7].copy_from_slice(&FALSE_ADDRESS.octets());
        }
        self.words(key, nonce, text);
    }

    /// What stands in both.
    fn words(&self, key: &[u8], nonce: &[u8], text: &mut [u8]) {
        let mut from = 0;
        while let Some(range) = record(text, from) {
            from = range.end;
            self.record(key, nonce, &mut text[range]);
        }
        let draw = self.draw(&[b"junk", key, nonce]);
        if draw[0].is_multiple_of(JUNK_EVERY) && !text.is_empty() && self.tells(Lie::Junk) {
            let at = usize::from(u16::from_be_bytes([draw[1], draw[2]])) % text.len();
            text[at] ^= draw[3].max(1);
        }
    }

    /// A record that it is about to show.
    fn record(&self, key: &[u8], nonce: &[u8], bytes: &mut [u8]) {
        let owner = after(bytes, KEY).and_then(|at| <[u8; 33]>::try_from(bytes.get(at..at + 33)?).ok());
        let Some(owner) = owner else { return };
        if owner == self.key {
            // Half of those it speaks with are shown the other content.
            if self.has(Lie::Equivocation)
                && self.draw(&[b"whom", key])[0] & 1 == 0
                && let Some(other) = self.other_content(bytes)
                && self.tells(Lie::Equivocation)
            {
                bytes.copy_from_slice(other.as_bytes());
            }
            return;
        }
        let (draw, mut old) = (self.draw(&[b"record", key, nonce, &owner]), self.old.borrow_mut());
        let first = old.entry((owner, bytes.len())).or_insert_with(|| bytes.to_vec()).clone();
        if draw[0] & 1 == 0 && first != bytes && self.tells(Lie::OldRecords) {
            bytes.copy_from_slice(&first);
        }
        if draw[1] & 3 != 0 || !self.tells(Lie::WrongRecords) {
            return;
        }
        let anothers = old.iter().find(|((whose, length), _)| *whose != owner && *length == bytes.len());
        match (anothers, after(bytes, IP4)) {
            (Some((_, anothers)), _) if draw[2] & 1 == 0 => bytes.copy_from_slice(anothers),
            (_, Some(at)) => bytes[at] ^= 1,
            _ => {}
        }
    }

    /// Its own record under the same number, with another address.
    fn other_content(&self, bytes: &[u8]) -> Option<Record> {
        let remembering = Spied::new(Some(Rc::default()));
        let record = Record::decode(bytes, &remembering).ok()?;
        let identity = Identity::new(remembering, SecretKey::from_bytes(&self.secret).ok()?);
        let mut builder = Builder::from_record(&record);
        let other = builder.set_ip4(Some(VICTIM)).ok()?.sign(record.seq(), &identity).ok()?;
        (other.as_bytes().len() == bytes.len()).then_some(other)
    }

    /// Which addresses it says that it has, where it lies about them: another member's, nobody's, its own.
    pub(crate) fn claimed(&self, now: Nanos) -> Option<Vec<IpAddr>> {
        self.claims.set(now / CLAIM);
        let claimed = match self.claims.get() % 3 {
            0 => return None,
            1 => home(0),
            _ => VICTIM.into(),
        };
        self.tells(Lie::Addresses).then(|| vec![claimed])
    }

    /// Whether it is time to claim another address.
    pub(crate) fn changes_its_mind(&self, now: Nanos) -> bool {
        self.has(Lie::Addresses) && now / CLAIM != self.claims.get()
    }

    /// Whether it closes this connection as soon as it has come.
    pub(crate) fn refuses(&self, stream: StreamId) -> bool {
        self.chosen(b"refuse", stream) && self.tells(Lie::Refusals)
    }

    /// Whether it reads no more from this connection; otherwise it reads as much as is there.
    pub(crate) fn stalls(&self, stream: StreamId, there: usize) -> bool {
        let mut read = self.read.borrow_mut();
        let read = read.entry(stream).or_default();
        if *read > STALL_AFTER && self.chosen(b"stall", stream) && self.tells(Lie::Stalls) {
            return true;
        }
        *read += there as u64;
        false
    }

    /// Every second connection, by its name.
    fn chosen(&self, what: &[u8], stream: StreamId) -> bool {
        self.draw(&[what, format!("{stream:?}").as_bytes()])[0] & 1 == 0
    }
}

const PING: u8 = 1;
const PONG: u8 = 2;

/// Whether a PONG ends with an IPv4 address and a port of two bytes.
fn has_ip4(pong: &[u8]) -> bool {
    pong.len() > 8 && pong[pong.len() - 8] == 0x84 && pong[pong.len() - 3] == 0x82
}

/// Where the last byte of the sequence number stands in a PING or PONG: after the type, the head of the list, and
/// the request id.
fn number(text: &[u8]) -> Option<usize> {
    let item = |at: usize| match text.get(at)? {
        head @ 0x80..=0xb7 => Some(at + 1 + usize::from(head - 0x80)),
        ..0x80 => Some(at + 1),
        _ => None,
    };
    let end = item(item(2)?)?;
    // Zero has no byte of its own.
    (text.get(end - 1)? != &0x80 && end <= text.len()).then_some(end - 1)
}

/// The next record in these bytes: a list of fewer than 256 bytes that begins with a signature.
fn record(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let starts = bytes.get(from..)?.windows(4).enumerate();
    let whole = |(at, head): (usize, &[u8])| {
        let end = from + at + 2 + usize::from(head[1]);
        (head[0] == 0xf8 && head[2..] == [0xb8, 64] && end <= bytes.len()).then_some(from + at..end)
    };
    starts.into_iter().find_map(whole)
}

/// Where what follows this begins.
fn after(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|at| at == what).map(|at| at + what.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{lock_record, secret};

    fn liar(kinds: &[Lie]) -> Liar {
        Liar::new(Lies { kinds: kinds.to_vec(), told: Told::default() }, secret(0), [7; 32])
    }

    #[test]
    fn a_pong_says_another_address_and_number_and_stays_a_pong() {
        let liar = liar(&[Lie::Votes, Lie::Numbers]);
        let pong = [&[2, 0xd2, 0x88][..], &[9; 8], &[0x05, 0x84, 10, 0, 0, 1, 0x82, 14, 26]].concat();
        let mut said = pong.clone();
        liar.message(&[1; 16], &[3; 12], &mut said);
        assert_eq!(said[said.len() - 7..said.len() - 3], FALSE_ADDRESS.octets());
        assert!(said[11] != 5 && (1..0x80).contains(&said[11]), "{said:?}");
        assert_eq!(said[..11], pong[..11]);
        let mut again = pong;
        liar.message(&[1; 16], &[3; 12], &mut again);
        assert_eq!(again, said, "sealed again, it says the same");
    }

    #[test]
    fn its_record_has_two_contents_under_one_number() {
        let liar = liar(&[Lie::Equivocation]);
        let own = lock_record(0);
        let shown: Vec<Record> = (0..8)
            .map(|key| {
                let mut text = [b"before".as_slice(), own.as_bytes(), b"after"].concat();
                liar.message(&[key; 16], &[0; 12], &mut text);
                Record::decode(&text[6..text.len() - 5], &RustCrypto).expect("it verifies")
            })
            .collect();
        assert!(shown.iter().all(|record| record.seq() == own.seq()));
        assert!(shown.iter().any(|record| record.same_content(&own)));
        assert!(shown.iter().any(|record| !record.same_content(&own)));
    }

    #[test]
    fn records_of_others_are_changed_or_somebody_elses() {
        let liar = liar(&[Lie::WrongRecords]);
        let mut shown = std::collections::BTreeSet::new();
        for nonce in 0..64 {
            for member in 1..3 {
                let mut text = lock_record(member).as_bytes().to_vec();
                liar.frame(&[1; 32], &[nonce; 12], &mut text);
                if text != lock_record(member).as_bytes() {
                    shown.insert(Record::decode(&text, &RustCrypto).is_ok());
                }
            }
        }
        assert_eq!(shown.into_iter().collect::<Vec<_>>(), [false, true]);
    }
}
