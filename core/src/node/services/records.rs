//! `/coracle/records/1.0.0`: the newest signed record of every member, from each side to the other.
//!
//! Whoever has news opens a stream, writes one message a record and finishes; the other side reads to the
//! end and finishes too, which says that all was read. A message is length-delimited protobuf,
//! `{1: bytes record}`, the record as canonical RLP (EIP-778). Unknown fields are skipped; what changes
//! more than that gets another version in the name.
//!
//! All records go out when a channel is up, and one whenever it changes, over every channel but that over which
//! it came. A record is taken by its own signature only, for members only, and only forward; our own, shown to us,
//! is what brings a lost store back (rule E5).

use super::{
    super::{Node, action::ConnId},
    Unwanted,
};
use crate::{
    cluster::{MemberIndex, Origin},
    crypto::Crypto,
    limits::{MAX_MEMBERS, MAX_RECORD_CHECKS, MAX_RECORD_SIZE, RECORD_CHECK_EVERY},
    record::Record,
    time::Instant,
    wire::{
        messages::MAX_FIELD,
        protobuf::{Field, Value, Writer},
        varint,
    },
};

const RECORD: u32 = 1;
/// A record, its tag and length.
pub(super) const MAX_MESSAGE: usize = MAX_RECORD_SIZE + 3;
/// Everybody's record, each with its length before it.
pub(super) const MAX_BYTES: usize = MAX_MEMBERS * (MAX_MESSAGE + 2);
/// The bit of our own record; the others are members' positions in the cluster's table.
pub(super) const OWN: usize = MAX_MEMBERS - 1;

const _: () = assert!(MAX_FIELD >= MAX_RECORD_SIZE);
const _: () = assert!(MAX_MEMBERS == 256, "a bit for each other member, and one for ourselves");

/// A set of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) struct Bits([u64; 4]);

impl Bits {
    pub(super) const fn none() -> Self {
        Self([0; 4])
    }

    pub(super) const fn all() -> Self {
        Self([u64::MAX; 4])
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::none()
    }

    pub(super) fn set(&mut self, bit: usize) {
        if let Some(word) = self.0.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn clear(&mut self, bit: usize) {
        if let Some(word) = self.0.get_mut(bit / 64) {
            *word &= !(1 << (bit % 64));
        }
    }

    /// The lowest bit; our own record's comes first of all.
    fn first(&self) -> Option<usize> {
        if self.0[3] >> 63 != 0 {
            return Some(OWN);
        }
        let word = self.0.iter().position(|word| *word != 0)?;
        Some(64 * word + self.0[word].trailing_zeros() as usize)
    }
}

/// How many signatures a member may make us check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self { left: MAX_RECORD_CHECKS, since: Instant::ZERO }
    }

    fn spend(&mut self, now: Instant) -> bool {
        let earned = now.since(self.since).as_nanos() / RECORD_CHECK_EVERY.as_nanos();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(MAX_RECORD_CHECKS);
            self.since = now;
        }
        let spent = self.left.checked_sub(1);
        self.left = spent.unwrap_or(0);
        spent.is_some()
    }
}

impl<C: Crypto> Node<C> {
    /// Writes as many as fit of the records that are owed over this connection; their length, and what is owed after
    /// that. Over one that gave way to another nothing is.
    pub(in crate::node) fn write_records(
        &self,
        conn: ConnId,
        member: MemberIndex,
        out: &mut [u8],
    ) -> (usize, Bits) {
        let peer = self.services.peers.get(member.position()).filter(|peer| peer.conn == Some(conn));
        let mut owed = peer.map_or(Bits::none(), |peer| peer.records);
        let mut at = 0;
        while let Some(bit) = owed.first() {
            if let Some(record) = self.record_of(bit) {
                let Some(n) = out.get_mut(at..).and_then(|out| write_record(record, out)) else { break };
                at += n;
            }
            owed.clear(bit);
        }
        (at, owed)
    }

    fn record_of(&self, bit: usize) -> Option<&Record> {
        if bit == OWN {
            return self.local.current();
        }
        self.cluster.members().find(|(index, _)| index.position() == bit)?.1.record()
    }

    /// A member shows a record, over this connection.
    pub(in crate::node) fn read_record(
        &mut self,
        now: Instant,
        conn: ConnId,
        teller: MemberIndex,
        field: Field<'_>,
    ) -> Result<(), Unwanted> {
        let bytes = match (field.number, field.value) {
            (RECORD, Value::Bytes(bytes)) => bytes,
            (RECORD, _) => return Err(Unwanted),
            _ => return Ok(()),
        };
        let same = |record: Option<&Record>| record.is_some_and(|record| record.as_bytes() == bytes);
        let known = same(self.local.current()) || self.cluster.members().any(|(_, m)| same(m.record()));
        if known {
            return Ok(());
        }
        let peer = self.services.peer(teller).ok_or(Unwanted)?;
        if !peer.checks.spend(now) {
            self.counters.records_refused += 1;
            return Err(Unwanted);
        }
        let Ok(record) = Record::decode(bytes, self.identity.crypto()) else {
            self.counters.records_refused += 1;
            return Err(Unwanted);
        };
        if record.public_key() == self.identity.public_key() {
            self.own_record_seen(&record);
        } else if self.cluster.index_of(record.public_key()).is_some() {
            self.record_seen(now, &record, Origin::Exchanged, Some(conn));
        } else {
            // Its cluster file may be another than ours.
            self.counters.records_of_strangers += 1;
        }
        Ok(())
    }
}

fn write_record(record: &Record, out: &mut [u8]) -> Option<usize> {
    let bytes = record.as_bytes();
    let len = 1 + varint::len(bytes.len() as u64) + bytes.len();
    let prefix = varint::write(len as u64, out)?;
    let written = Writer::new(out.get_mut(prefix..)?).bytes(RECORD, bytes).finish()?;
    Some(prefix + written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn our_own_record_goes_first() {
        let mut bits = Bits::none();
        bits.set(3);
        bits.set(130);
        bits.set(OWN);
        let mut order = std::vec::Vec::new();
        while let Some(bit) = bits.first() {
            bits.clear(bit);
            order.push(bit);
        }
        assert_eq!(order, [OWN, 3, 130]);
        assert!(bits.is_empty());
    }

    #[test]
    fn signature_checks_have_a_budget() {
        let mut budget = Budget::new();
        let now = Instant::from_millis(1_000_000);
        let spent = (0..2 * MAX_RECORD_CHECKS).filter(|_| budget.spend(now)).count();
        assert_eq!(spent, MAX_RECORD_CHECKS as usize);
        assert!(budget.spend(now + RECORD_CHECK_EVERY));
        assert!(!budget.spend(now + RECORD_CHECK_EVERY));
    }
}
