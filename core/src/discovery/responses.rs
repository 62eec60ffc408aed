//! Answers of ours that wait to be sent, and the TALK buffers.

use alloc::boxed::Box;
use core::hash::{Hash as _, Hasher as _};

use siphasher::sip::SipHasher13;

use super::{
    message::WireId,
    packet::Nonce,
    peer::Peer,
    session::{Generation, Opened},
};
use crate::{
    collections::{Deadlines, Key, Lists, Slab},
    limits::{MAX_MESSAGE_SIZE, MAX_NODES_PACKETS, MAX_NODES_RECORDS, MAX_TALK_PAYLOAD, RECENT_TALKS},
    record::Record,
    rng::Rng,
    time::Instant,
};

/// An answer that waits to be sent. It goes where the request came from.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) peer: Peer,
    pub(super) wire_id: WireId,
    /// The keys that the request came under.
    pub(super) generation: Generation,
    /// The request came in a packet that had come before: its answer is paid with bytes that came.
    pub(super) repeated: bool,
    pub(super) answer: Answer,
}

/// What is answered.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // it lives in a fixed pool, and nothing here may allocate
pub(super) enum Answer {
    /// The sender's endpoint is in [`Response::peer`].
    Pong,
    Nodes(NodesPlan),
    /// To a TALKREQ in a protocol that nobody here speaks.
    NoTalk,
    /// The embedder's answer, in this buffer.
    Talk(Key),
}

/// One record of an answer to FINDNODE.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    /// The node in the table; `None` for this node itself.
    pub(super) node: Option<Key>,
    /// Length of its record when the answer was planned. A record that changed since is left out.
    pub(super) len: u16,
}

impl Pick {
    pub(super) fn new(node: Option<Key>, record: &Record) -> Self {
        // A record has at most 300 bytes.
        Self { node, len: record.as_bytes().len() as u16 }
    }
}

/// The answer to a FINDNODE, cut into packets when it is planned, so that all of them say the same
/// total.
#[derive(Debug, Default)]
pub(super) struct NodesPlan {
    picks: heapless::Vec<Pick, MAX_NODES_RECORDS>,
    /// Where each packet ends.
    ends: heapless::Vec<u8, MAX_NODES_PACKETS>,
    /// Packets sent.
    sent: usize,
}

/// Room for records in a NODES packet: the content less type, list header, an 8-byte request id,
/// total, and the header of the list of records.
const NODES_ROOM: usize = MAX_MESSAGE_SIZE - 1 - 3 - 9 - 1 - 3;

impl NodesPlan {
    /// Cuts the records into packets. What does not fit into five of them is left out.
    pub(super) fn new(picks: impl Iterator<Item = Pick>) -> Self {
        let mut plan = Self::default();
        let mut size = 0;
        for pick in picks.take(MAX_NODES_RECORDS) {
            let len = usize::from(pick.len);
            if size + len > NODES_ROOM {
                // The last packet ends with the plan.
                if plan.ends.len() + 1 == MAX_NODES_PACKETS {
                    break;
                }
                let pushed = plan.ends.push(plan.picks.len() as u8);
                debug_assert!(pushed.is_ok());
                size = 0;
            }
            let pushed = plan.picks.push(pick);
            debug_assert!(pushed.is_ok());
            size += len;
        }
        // An answer without records is one empty packet.
        let pushed = plan.ends.push(plan.picks.len() as u8);
        debug_assert!(pushed.is_ok());
        plan
    }

    /// How many packets the answer has.
    pub(super) fn total(&self) -> u8 {
        self.ends.len() as u8
    }

    /// The records of the next packet, which then counts as sent.
    pub(super) fn next_packet(&mut self) -> &[Pick] {
        let start = self.sent.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        let end = self.ends.get(self.sent).copied().unwrap_or(start);
        self.sent += 1;
        self.picks.get(usize::from(start)..usize::from(end)).unwrap_or_default()
    }

    /// Whether all packets were sent.
    pub(super) fn finished(&self) -> bool {
        self.sent >= self.ends.len()
    }
}

/// Where a TALKREQ of a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TalkPhase {
    /// It waits for the embedder.
    Asked,
    /// The answer waits to be sent.
    Answered,
    /// The answer was sent, and is kept for a while: the request may come again.
    Sent,
}

/// A TALKREQ of a peer, and then the answer to it.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) peer: Peer,
    pub(super) wire_id: WireId,
    pub(super) generation: Generation,
    /// Protocol and request one after the other; once answered, the answer.
    data: heapless::Vec<u8, MAX_MESSAGE_SIZE>,
    protocol_len: usize,
    pub(super) phase: TalkPhase,
}

impl Talk {
    /// The protocol and the request.
    pub(super) fn request(&self) -> Option<(&[u8], &[u8])> {
        (self.phase == TalkPhase::Asked).then(|| self.data.split_at_checked(self.protocol_len))?
    }

    /// The answer.
    pub(super) fn answer(&self) -> &[u8] {
        if self.phase == TalkPhase::Asked { &[] } else { &self.data }
    }

    /// Replaces the request by its answer; false when that is too long.
    pub(super) fn set_answer(&mut self, answer: &[u8]) -> bool {
        if answer.len() > MAX_TALK_PAYLOAD {
            return false;
        }
        self.data.clear();
        self.phase = TalkPhase::Answered;
        self.data.extend_from_slice(answer).is_ok()
    }
}

/// The buffer of a TALKREQ of ours: first the request, then the answer.
#[derive(Debug)]
pub(super) struct OwnTalk {
    /// Protocol and request one after the other; after the answer came, the answer.
    pub(super) data: heapless::Vec<u8, MAX_MESSAGE_SIZE>,
    pub(super) protocol_len: usize,
}

/// All TALK buffers, in both directions.
#[derive(Debug)]
pub(super) struct Talks {
    pub(super) peers: Slab<Talk>,
    /// Until when the embedder may answer, or the answer is kept.
    pub(super) deadlines: Deadlines,
    /// Those whose answer is only kept, in the order in which they were sent.
    sent: Lists,
    pub(super) own: Slab<OwnTalk>,
    recent: Recent,
}

/// Packets with TALKREQs that were delivered, longer than a session or a buffer remembers them.
#[derive(Debug)]
struct Recent {
    secret: [u8; 16],
    prints: Box<[u64]>,
    next: usize,
}

impl Recent {
    /// Remembers a packet; whether it was known.
    fn remember(&mut self, peer: &Peer, nonce: &Nonce) -> bool {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        peer.hash(&mut hasher);
        nonce.hash(&mut hasher);
        let print = hasher.finish().max(1);
        if self.prints.contains(&print) {
            return true;
        }
        if let Some(oldest) = self.prints.get_mut(self.next) {
            *oldest = print;
        }
        self.next = (self.next + 1) % RECENT_TALKS;
        false
    }
}

/// What became of a TALKREQ of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It waits for the embedder.
    New(Key),
    /// It came before, and waits still, or is long over.
    Known,
    /// It came before, and its answer is still here.
    Again(Key),
    /// No buffer is free.
    Full,
}

impl Talks {
    pub(super) fn new(capacity: usize, rng: &mut Rng) -> Self {
        Self {
            peers: Slab::new(capacity),
            deadlines: Deadlines::new(capacity),
            sent: Lists::new(1, capacity),
            own: Slab::new(capacity),
            recent: Recent { secret: rng.array(), prints: (0..RECENT_TALKS).map(|_| 0).collect(), next: 0 },
        }
    }

    /// Takes a TALKREQ in, until `deadline`. Each is taken once, whether the same packet comes again
    /// or the same request in another.
    pub(super) fn take(
        &mut self,
        (peer, wire_id): (Peer, WireId),
        opened: Opened,
        protocol: &[u8],
        request: &[u8],
        deadline: Instant,
    ) -> Taken {
        let known = self.peers.iter().find(|(_, talk)| talk.peer == peer && talk.wire_id == wire_id);
        if let Some((key, talk)) = known {
            return if talk.phase == TalkPhase::Sent { Taken::Again(key) } else { Taken::Known };
        }
        if opened.repeated {
            return Taken::Known;
        }
        if self.peers.is_full()
            && let Some(oldest) = self.sent.first(0).and_then(|place| self.peers.key_at(place))
        {
            self.close(oldest);
        }
        if self.peers.is_full() {
            return Taken::Full;
        }
        if self.recent.remember(&peer, &opened.nonce) {
            return Taken::Known;
        }
        let Some(data) = joined(protocol, request) else { return Taken::Full };
        let generation = opened.generation;
        let (protocol_len, phase) = (protocol.len(), TalkPhase::Asked);
        let talk = Talk { peer, wire_id, generation, data, protocol_len, phase };
        let Ok(key) = self.peers.insert(talk) else { return Taken::Full };
        self.deadlines.set(key.index(), deadline);
        Taken::New(key)
    }

    /// The answer to a peer's TALKREQ was sent; it is kept until then, or until its place is needed.
    pub(super) fn sent(&mut self, key: Key, until: Instant) {
        let Some(talk) = self.peers.get_mut(key) else { return };
        talk.phase = TalkPhase::Sent;
        self.sent.push(0, key.index());
        self.deadlines.set(key.index(), until);
    }

    /// Frees the buffer of a peer's TALKREQ.
    pub(super) fn close(&mut self, key: Key) {
        if self.peers.get(key).is_some() {
            self.deadlines.clear(key.index());
            self.sent.remove(key.index());
            self.peers.discard(key);
        }
    }

    /// Puts a TALKREQ of ours into a buffer.
    pub(super) fn begin(&mut self, protocol: &[u8], request: &[u8]) -> Option<Key> {
        let data = joined(protocol, request)?;
        self.own.insert(OwnTalk { data, protocol_len: protocol.len() }).ok()
    }
}

fn joined(protocol: &[u8], request: &[u8]) -> Option<heapless::Vec<u8, MAX_MESSAGE_SIZE>> {
    let mut data = heapless::Vec::from_slice(protocol).ok()?;
    data.extend_from_slice(request).ok()?;
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_RECORD_SIZE;

    fn plan(sizes: &[usize]) -> (usize, std::vec::Vec<usize>) {
        let mut plan = NodesPlan::new(sizes.iter().map(|len| Pick { node: None, len: *len as u16 }));
        let mut packets = std::vec::Vec::new();
        while !plan.finished() {
            let picks = plan.next_packet();
            assert!(picks.iter().map(|pick| usize::from(pick.len)).sum::<usize>() <= NODES_ROOM);
            packets.push(picks.len());
        }
        (usize::from(plan.total()), packets)
    }

    #[test]
    fn answers_are_cut_into_packets() {
        assert_eq!(plan(&[]), (1, std::vec![0]));
        assert_eq!(plan(&[140; 16]), (2, std::vec![8, 8]));
        assert_eq!(plan(&[140; 20]), (2, std::vec![8, 8]));
        assert_eq!(plan(&[MAX_RECORD_SIZE; 16]), (5, std::vec![3; 5]));
        assert_eq!(plan(&[300, 300, 300, 200, 300]), (2, std::vec![4, 1]));
    }
}
