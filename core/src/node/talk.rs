//! TALK through the node: requests and answers of the embedder's own protocols inside discv5.

use core::net::SocketAddr;

use super::{Node, RequestError, RequestId, notice::Notice};
use crate::{
    crypto::Crypto,
    discovery::{self, TalkId},
    id::NodeId,
    record::Record,
    time::Instant,
};

/// A TALKREQ of the embedder that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestedTalk {
    request: RequestId,
    talk: discovery::RequestId,
}

/// An answer that can be read now. Until it was told, and the next action is polled, no further event
/// is taken from discovery, which holds its bytes for so long.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadableTalk {
    requested: RequestedTalk,
    from: NodeId,
    len: usize,
    told: bool,
}

impl<C: Crypto> Node<C> {
    /// Accepts TALKREQs in `protocol` from now on: each comes as [`Notice::TalkRequest`]. False when
    /// the name is longer than 64 bytes or there are 16 already. Those in other protocols are
    /// answered with an empty response, as the specification says.
    pub fn accept_talk(&mut self, protocol: &[u8]) -> bool {
        self.discovery.accept_talk(protocol)
    }

    /// Sends a TALKREQ to a node of the routing table; members are always in it. Ends with
    /// [`Notice::TalkResponse`] or [`Notice::TalkFailed`]. Several to one node may be under way.
    pub fn talk(
        &mut self,
        now: Instant,
        to: NodeId,
        protocol: &[u8],
        request: &[u8],
    ) -> Result<RequestId, RequestError> {
        let now = self.now.advance(now);
        if !self.is_running() {
            return Err(RequestError::NotRunning);
        }
        if self.talks.is_full() {
            return Err(RequestError::Busy);
        }
        let talk = self.discovery.talk(now, to, protocol, request)?;
        let request = RequestId(self.fresh_id());
        let _ = self.talks.push(RequestedTalk { request, talk });
        Ok(request)
    }

    /// Protocol and content of a TALKREQ of a peer, until it is answered or its time is over (300 ms;
    /// then it was answered with an empty response).
    pub fn talk_request(&self, id: TalkId) -> Option<(&[u8], &[u8])> {
        self.discovery.talk_request(id)
    }

    /// Answers a TALKREQ of a peer.
    pub fn respond_talk(&mut self, now: Instant, id: TalkId, response: &[u8]) -> Result<(), RequestError> {
        self.now.advance(now);
        Ok(self.discovery.respond_talk(id, response)?)
    }

    /// The answer to a TALKREQ of ours, from its [`Notice::TalkResponse`] until the next call of
    /// [`Node::poll`].
    pub fn talk_response(&self, request: RequestId) -> Option<&[u8]> {
        let readable = self.readable_talk.filter(|readable| readable.requested.request == request)?;
        self.discovery.talk_response(readable.requested.talk)
    }

    /// Replaces the bootnodes; no socket is touched. Those that are not named any longer become
    /// ordinary nodes, and members stay what they are.
    pub fn set_bootnodes(&mut self, now: Instant, bootnodes: &[Record]) -> Result<(), RequestError> {
        let now = self.now.advance(now);
        Ok(self.discovery.set_seeds(now, bootnodes)?)
    }

    /// A peer asks for something.
    pub(super) fn talk_asked(&mut self, id: TalkId, from: NodeId, endpoint: SocketAddr) {
        self.notify(Notice::TalkRequest { id, from, endpoint });
    }

    /// A TALKREQ of ours was answered.
    pub(super) fn talk_answered(&mut self, talk: discovery::RequestId, from: NodeId, len: usize) {
        let Some(requested) = self.take_talk(talk) else { return };
        self.readable_talk = Some(ReadableTalk { requested, from, len, told: false });
    }

    /// A TALKREQ of ours was not answered.
    pub(super) fn talk_failed(&mut self, talk: discovery::RequestId) {
        if let Some(requested) = self.take_talk(talk) {
            self.notify(Notice::TalkFailed { request: requested.request });
        }
    }

    fn take_talk(&mut self, talk: discovery::RequestId) -> Option<RequestedTalk> {
        let i = self.talks.iter().position(|requested| requested.talk == talk)?;
        Some(self.talks.swap_remove(i))
    }

    /// Whether an answer must be read before discovery goes on.
    pub(super) const fn holds_talk(&self) -> bool {
        self.readable_talk.is_some()
    }

    /// The answer that was told has had its time.
    pub(super) fn release_talk(&mut self) {
        self.readable_talk = self.readable_talk.filter(|readable| !readable.told);
    }

    /// Tells of an answer that can be read.
    pub(super) fn poll_talk(&mut self) -> Option<Notice> {
        let readable = self.readable_talk.as_mut().filter(|readable| !readable.told)?;
        readable.told = true;
        let ReadableTalk { requested, from, len, .. } = *readable;
        Some(Notice::TalkResponse { request: requested.request, from, len })
    }
}
