//! The node's next action: what is owed, pulled from the machines one at a time.

use super::{
    Node,
    action::{Action, ResolveId, StoreId, StoreItem, StoredPeer},
    conns::{Close, Conn, Stage},
    notice::Notice,
};
use crate::{
    cluster,
    crypto::Crypto,
    limits::RESOLVE_RETRY,
    refresh,
    time::{Instant, earlier},
};

impl<C: Crypto> Node<C> {
    /// The next action. Call it after every event until it says [`Action::Wait`].
    ///
    /// `buf` is where packets are encoded; it has at least [`MIN_BUFFER`](super::MIN_BUFFER) bytes.
    /// More lets a connection write more at a time.
    ///
    /// # Panics
    /// When `buf` is smaller than that: the driver's mistake, seen at the first call.
    pub fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Action {
        assert!(buf.len() >= super::MIN_BUFFER, "the buffer for Node::poll is too small");
        let now = self.now.advance(now);
        self.release_talk();
        self.give_way(now);
        if self.running {
            self.route_discovery(now);
        }
        if let Some(notice) = self.notices.pop_front() {
            return Action::Notify(notice);
        }
        if let Some(notice) = self.poll_talk() {
            return Action::Notify(notice);
        }
        if let Some(action) = self.poll_hostname(now, buf) {
            return action;
        }
        if let Some(action) = self.poll_local(now) {
            return action;
        }
        if let Some(action) = self.poll_peer_stores() {
            return action;
        }
        if self.running && !self.shutting_down {
            if let Some(action) = self.poll_cluster(now) {
                return action;
            }
            if let Some((to, len)) = self.discovery.poll_transmit(&self.identity, now, buf) {
                return Action::Send { to, len };
            }
        }
        if self.running
            && !self.shutting_down
            && let Some(action) = self.poll_services(now, buf)
        {
            return action;
        }
        if let Some(action) = self.poll_streams() {
            return action;
        }
        if let Some(action) = self.poll_conns(now, buf) {
            return action;
        }
        // Encoding may have ended or begun something worth telling.
        if let Some(notice) = self.notices.pop_front() {
            return Action::Notify(notice);
        }
        Action::Wait(self.next_timeout())
    }

    fn next_timeout(&self) -> Option<Instant> {
        let mut next = self.conns.next_timeout();
        if self.shutting_down {
            return next;
        }
        next = earlier(next, self.local.next_timeout());
        next = self.peer_stores.iter().map(|store| store.retry_at).fold(next, earlier);
        if self.running {
            next = earlier(next, earlier(self.cluster.next_timeout(), self.next_hang()));
            next = earlier(next, self.discovery.next_timeout());
            next = earlier(next, self.services.next_timeout());
        }
        if let Some(hostname) = &self.hostname {
            next = earlier(next, earlier(Some(hostname.next), hostname.first_until));
        }
        next
    }

    /// The own record: stored, then published; then everything else may begin.
    fn poll_local(&mut self, now: Instant) -> Option<Action> {
        if let Some(hostname) = &mut self.hostname {
            hostname.first_until = hostname.first_until.filter(|until| now < *until);
        }
        let waits_for_name = self.hostname.as_ref().is_some_and(|hostname| hostname.first_until.is_some());
        if self.shutting_down || waits_for_name {
            return None;
        }
        Some(match self.local.poll(&self.identity)? {
            refresh::Output::Store(record) => {
                let id = StoreId(self.fresh_id());
                self.own_store = Some(id);
                Action::Store { id, item: StoreItem::Own(record) }
            }
            refresh::Output::Published(record) => {
                self.discovery.set_local_record(now, &record);
                self.running = true;
                self.cluster.start(now);
                self.services.handle_published();
                let source = self.local.sources().strongest_source();
                Action::Notify(Notice::Published {
                    seq: record.seq(),
                    addresses: *record.addresses(),
                    source,
                })
            }
            refresh::Output::StoreFailed => Action::Notify(Notice::StoreFailed),
            refresh::Output::Failed(error) => Action::Notify(Notice::RefreshFailed(error)),
        })
    }

    /// Members' entries that changed, one write a member at a time.
    fn poll_peer_stores(&mut self) -> Option<Action> {
        let Self { cluster, peer_stores, .. } = self;
        let free = |i: cluster::MemberIndex| {
            peer_stores.get(i.position()).is_some_and(|s| s.in_flight.is_none() && s.retry_at.is_none())
        };
        let index = cluster.poll_dirty(free)?;
        let id = StoreId(self.fresh_id());
        self.peer_stores[index.position()].in_flight = Some(id);
        let member = self.cluster.member(index);
        let item = StoreItem::Peer(StoredPeer {
            public_key: *member.public_key(),
            record: member.record().cloned(),
            last_good: member.last_good(),
        });
        Some(Action::Store { id, item })
    }

    fn poll_cluster(&mut self, now: Instant) -> Option<Action> {
        loop {
            self.hold_dials(now);
            match self.cluster.poll(now)? {
                cluster::Output::Dial { member, endpoint } => {
                    if let Some(conn) = self.begin_dial(now, Some(member), endpoint) {
                        return Some(Action::Dial { conn, to: endpoint.address });
                    }
                }
                cluster::Output::DialAnyone { address } => {
                    let endpoint = cluster::Endpoint { address, origin: cluster::Origin::Hint };
                    if let Some(conn) = self.begin_dial(now, None, endpoint) {
                        return Some(Action::Dial { conn, to: address });
                    }
                }
                cluster::Output::LookUp { member } => {
                    if let Some(notice) = self.look_up_member(now, member) {
                        return Some(Action::Notify(notice));
                    }
                }
                cluster::Output::Unreachable { member } => {
                    let (peer, why) = (self.peer_id(member), self.cluster.member(member).reachability());
                    return Some(Action::Notify(Notice::Unreachable { peer, why }));
                }
            }
        }
    }

    /// Looks a member up, unless that is under way. Without room it is owed again a little later.
    fn look_up_member(&mut self, now: Instant, member: cluster::MemberIndex) -> Option<Notice> {
        let target = self.cluster.member(member).node_id();
        let slot = self.member_lookups.get_mut(member.position()).filter(|slot| slot.is_none())?;
        match self.discovery.lookup(now, target) {
            Ok(lookup) => {
                *slot = Some(lookup);
                Some(Notice::LookingUp { peer: self.peer_id(member) })
            }
            Err(_) => {
                self.counters.lookups_without_room += 1;
                self.cluster.handle_lookup_refused(now, member);
                None
            }
        }
    }

    fn poll_hostname(&mut self, now: Instant, buf: &mut [u8]) -> Option<Action> {
        if self.shutting_down {
            return None;
        }
        let id = ResolveId(self.next_id + 1);
        let hostname = self.hostname.as_mut().filter(|hostname| now >= hostname.next)?;
        let name = hostname.name.as_bytes();
        buf.get_mut(..name.len())?.copy_from_slice(name);
        let len = name.len();
        // A query that is never answered is asked again.
        hostname.next = now + RESOLVE_RETRY;
        hostname.asked = Some(id);
        self.next_id += 1;
        Some(Action::Resolve { id, len })
    }

    fn poll_conns(&mut self, now: Instant, buf: &mut [u8]) -> Option<Action> {
        if let Some(conn) = self.turned_away.pop() {
            return Some(Action::Close { conn });
        }
        let Self { conns, identity, .. } = self;
        let (conn, step) =
            conns.next_where(|conn| next_step(conn, identity, now, buf).map(|step| (conn.id, step)))?;
        match step {
            Step::Write(len) => {
                // Writing may have been the last thing a handshake owed.
                self.finish_handshake(now, conn);
                self.channel_events(now, conn);
                Some(Action::Write { conn, len })
            }
            Step::Resume => Some(Action::Resume { conn }),
            Step::Close => {
                if let Some(conn) = self.conns.remove(conn) {
                    self.recycle(conn);
                }
                Some(Action::Close { conn })
            }
        }
    }
}

enum Step {
    Write(usize),
    Resume,
    Close,
}

/// What one connection owes: bytes first, then its end, then a second look at what it left.
fn next_step<C: Crypto>(
    conn: &mut Conn,
    identity: &crate::crypto::Identity<C>,
    now: Instant,
    buf: &mut [u8],
) -> Option<Step> {
    if conn.close == Some(Close::Now) {
        return Some(Step::Close);
    }
    if conn.writable {
        let len = match &mut conn.stage {
            Stage::Initiator(machine) => machine.poll_write(identity, buf),
            Stage::Responder(machine) => machine.poll_write(identity, buf),
            Stage::Channel(channel) => {
                let len = channel.poll_write(identity.crypto(), now, buf);
                conn.resume |= len > 0 && channel.wants_bytes();
                len
            }
            Stage::Dialling | Stage::Dead => 0,
        };
        if len > 0 {
            conn.writable = false;
            return Some(Step::Write(len));
        }
        if conn.close.is_some() {
            return Some(Step::Close);
        }
    }
    if let Some(Close::Flush(at)) = conn.close
        && now >= at
    {
        return Some(Step::Close);
    }
    if core::mem::take(&mut conn.resume) {
        return Some(Step::Resume);
    }
    None
}
