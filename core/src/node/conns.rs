//! The node's connections: each from its dial or acceptance through the handshake to its channel.

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::{action::ConnId, notice::Failure, services::SERVICES};
use crate::{
    channel::Channel,
    cluster::{MemberIndex, Origin},
    handshake::{Initiator, Responder},
    time::{Instant, earlier},
};

/// How far a connection is.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // slots are allocated once, for the largest stage
pub(super) enum Stage {
    /// The driver dials.
    Dialling,
    /// We dialled, and authenticate.
    Initiator(Initiator),
    /// We accepted, and authenticate.
    Responder(Responder),
    /// Authenticated and admitted.
    Channel(Channel),
    /// Nothing is read or written any more; the slot waits for [`Conn::close`] to be handed out.
    Dead,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) remote: SocketAddr,
    /// How we knew where to dial, or [`Origin::Inbound`].
    pub(super) origin: Origin,
    /// The member we dialled, or that authenticated.
    pub(super) member: Option<MemberIndex>,
    /// Dialled without knowing whose address it is.
    pub(super) anyone: bool,
    /// Accepted from an address where a member is known to be.
    pub(super) reserved: bool,
    pub(super) stage: Stage,
    /// The driver takes a write.
    pub(super) writable: bool,
    /// The peer has proved that it has the channel too: only then does it count.
    pub(super) confirmed: bool,
    /// When that was.
    pub(super) confirmed_at: Instant,
    /// When the present stage has to be over.
    pub(super) deadline: Option<Instant>,
    /// When a ping was last answered.
    pub(super) last_pong: Option<Instant>,
    /// Another channel to the member stays: this one ends with its last stream, or at this time.
    pub(super) gives_way: Option<Instant>,
    /// The peer does not speak ping.
    pub(super) pingless: bool,
    /// The channel has written since it left bytes untaken: it may take them now.
    pub(super) resume: bool,
    /// To be closed, and whether what the channel owes is written before.
    pub(super) close: Option<Close>,
}

/// A wish to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// At once.
    Now,
    /// After the channel's farewell, or at this time.
    Flush(Instant),
}

impl Conn {
    /// A connection that begins now.
    pub(super) const fn new(
        id: ConnId,
        remote: SocketAddr,
        origin: Origin,
        stage: Stage,
        deadline: Instant,
    ) -> Self {
        Self {
            id,
            remote,
            origin,
            member: None,
            anyone: false,
            reserved: false,
            stage,
            writable: false,
            confirmed: false,
            deadline: Some(deadline),
            confirmed_at: deadline,
            last_pong: None,
            gives_way: None,
            pingless: false,
            resume: false,
            close: None,
        }
    }

    pub(super) fn is_channel(&self) -> bool {
        self.close.is_none() && matches!(self.stage, Stage::Channel(_))
    }

    /// Whether streams of the embedder's are open on it.
    pub(super) fn has_streams(&self) -> bool {
        matches!(&self.stage, Stage::Channel(channel) if channel.has_streams(|number| number >= SERVICES))
    }

    /// A dial or handshake of ours that is not a channel yet.
    pub(super) fn is_attempt(&self) -> bool {
        self.close.is_none()
            && !self.id.is_accepted()
            && !matches!(self.stage, Stage::Channel(_) | Stage::Dead)
    }

    /// An accepted connection that has not authenticated.
    pub(super) fn is_pending_inbound(&self) -> bool {
        self.id.is_accepted() && matches!(self.stage, Stage::Responder(_))
    }

    /// When something has to happen to this connection.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let close = match self.close {
            Some(Close::Flush(at)) => return Some(at),
            Some(Close::Now) => return None,
            None => None,
        };
        let channel = match &self.stage {
            Stage::Channel(channel) => channel.next_timeout(),
            _ => None,
        };
        earlier(close, earlier(self.gives_way, earlier(self.deadline, channel)))
    }
}

/// The table of connections: slots allocated once.
#[derive(Debug)]
pub(super) struct Conns {
    slots: Box<[Option<Conn>]>,
    /// The name of the connection in each slot, side by side: a connection is looked for at every step, and is large.
    names: Box<[Option<ConnId>]>,
    /// Where the search for something to write goes on, so that no connection starves.
    cursor: usize,
}

impl Conns {
    pub(super) fn new(capacity: usize) -> Self {
        let names = core::iter::repeat_n(None, capacity).collect();
        Self { slots: (0..capacity).map(|_| None).collect(), names, cursor: 0 }
    }

    /// Places, taken or not.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Puts a connection into a free slot; `false` when there is none.
    pub(super) fn insert(&mut self, conn: Conn) -> bool {
        let Some(free) = self.names.iter().position(Option::is_none) else { return false };
        self.names[free] = Some(conn.id);
        self.slots[free] = Some(conn);
        true
    }

    fn position(&self, id: ConnId) -> Option<usize> {
        self.names.iter().position(|name| *name == Some(id))
    }

    pub(super) fn find(&mut self, id: ConnId) -> Option<&mut Conn> {
        let at = self.position(id)?;
        self.slots[at].as_mut()
    }

    /// The name of the first connection that `is` holds for.
    pub(super) fn find_id(&self, is: impl Fn(&Conn) -> bool) -> Option<ConnId> {
        self.iter().find(|conn| is(conn)).map(|conn| conn.id)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let at = self.position(id)?;
        self.names[at] = None;
        self.slots[at].take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Conn> {
        self.slots.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Conn> {
        self.slots.iter_mut().flatten()
    }

    /// The first connection from the cursor on for which `f` has an answer; the cursor moves
    /// behind it.
    pub(super) fn next_where<T>(&mut self, mut f: impl FnMut(&mut Conn) -> Option<T>) -> Option<T> {
        let count = self.slots.len();
        for offset in 0..count {
            let index = (self.cursor + offset) % count;
            if let Some(answer) = self.slots[index].as_mut().and_then(&mut f) {
                self.cursor = (index + 1) % count;
                return Some(answer);
            }
        }
        None
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.iter().map(Conn::next_timeout).fold(None, earlier)
    }
}

/// What the end of a connection means for its member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) id: ConnId,
    pub(super) remote: SocketAddr,
    pub(super) origin: Origin,
    pub(super) member: Option<MemberIndex>,
    pub(super) anyone: bool,
    pub(super) was_confirmed: bool,
    pub(super) reason: Failure,
}

impl Ended {
    pub(super) fn of(conn: &Conn, reason: Failure) -> Self {
        Self {
            id: conn.id,
            remote: conn.remote,
            origin: conn.origin,
            member: conn.member,
            anyone: conn.anyone,
            was_confirmed: conn.confirmed,
            reason,
        }
    }
}
