//! Answers of ours that wait to be sent, and the TALK buffers.

use super::{message::WireId, peer::Peer, session::Generation};
use crate::{
    collections::{Deadlines, Key, Slab},
    limits::{MAX_MESSAGE_SIZE, MAX_NODES_PACKETS, MAX_NODES_RECORDS, MAX_TALK_PAYLOAD},
    time::Instant,
};

/// An answer that waits to be sent. It goes where the request came from.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) peer: Peer,
    pub(super) wire_id: WireId,
    /// The keys that the request came under.
    pub(super) generation: Generation,
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
    pub(super) len: usize,
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
            if size + pick.len > NODES_ROOM {
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
            size += pick.len;
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

/// A TALKREQ of a peer, and then the answer to it.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) peer: Peer,
    pub(super) wire_id: WireId,
    pub(super) generation: Generation,
    /// Protocol and request one after the other; once answered, the answer.
    data: heapless::Vec<u8, MAX_MESSAGE_SIZE>,
    protocol_len: usize,
    pub(super) answered: bool,
}

impl Talk {
    /// The protocol and the request.
    pub(super) fn request(&self) -> Option<(&[u8], &[u8])> {
        (!self.answered).then(|| self.data.split_at_checked(self.protocol_len))?
    }

    /// The answer.
    pub(super) fn answer(&self) -> &[u8] {
        if self.answered { &self.data } else { &[] }
    }

    /// Replaces the request by its answer; false when that is too long.
    pub(super) fn set_answer(&mut self, answer: &[u8]) -> bool {
        if answer.len() > MAX_TALK_PAYLOAD {
            return false;
        }
        self.data.clear();
        self.answered = true;
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
    pub(super) deadlines: Deadlines,
    pub(super) own: Slab<OwnTalk>,
}

/// What became of a TALKREQ of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It waits for the embedder.
    New(Key),
    /// It came before, and waits still.
    Known,
    /// No buffer is free.
    Full,
}

impl Talks {
    pub(super) fn new(capacity: usize) -> Self {
        Self { peers: Slab::new(capacity), deadlines: Deadlines::new(capacity), own: Slab::new(capacity) }
    }

    /// Takes a TALKREQ in, until `deadline`.
    pub(super) fn take(
        &mut self,
        (peer, wire_id, generation): (Peer, WireId, Generation),
        protocol: &[u8],
        request: &[u8],
        deadline: Instant,
    ) -> Taken {
        if self.peers.iter().any(|(_, talk)| talk.peer == peer && talk.wire_id == wire_id) {
            return Taken::Known;
        }
        let Some(data) = joined(protocol, request) else { return Taken::Full };
        let talk = Talk { peer, wire_id, generation, data, protocol_len: protocol.len(), answered: false };
        let Ok(key) = self.peers.insert(talk) else { return Taken::Full };
        self.deadlines.set(key.index(), deadline);
        Taken::New(key)
    }

    /// Frees the buffer of a peer's TALKREQ.
    pub(super) fn close(&mut self, key: Key) {
        self.deadlines.clear(key.index());
        self.peers.remove(key);
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
        let mut plan = NodesPlan::new(sizes.iter().map(|len| Pick { node: None, len: *len }));
        let mut packets = std::vec::Vec::new();
        while !plan.finished() {
            let picks = plan.next_packet();
            assert!(picks.iter().map(|pick| pick.len).sum::<usize>() <= NODES_ROOM);
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
