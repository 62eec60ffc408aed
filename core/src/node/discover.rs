//! What discovery tells, brought to the cluster, the own record and the embedder.

use super::{Node, action::ConnId, notice::Notice};
use crate::{
    cluster::{Origin, RecordOutcome},
    crypto::Crypto,
    discovery,
    record::Record,
    refresh::OwnSeen,
    time::Instant,
};

impl<C: Crypto> Node<C> {
    /// Takes all that discovery has to tell.
    pub(super) fn route_discovery(&mut self, now: Instant) {
        // An answer that can be read goes with the next event.
        while !self.holds_talk()
            && let Some(event) = self.discovery.poll_event()
        {
            match event {
                discovery::Event::TalkRequest { id, from, endpoint } => self.talk_asked(id, from, endpoint),
                discovery::Event::TalkResponse { request, from, len } => {
                    self.talk_answered(request, from, len);
                }
                discovery::Event::RequestFailed { request, .. } => self.talk_failed(request),
                discovery::Event::RecordSeen { record, .. } => {
                    self.record_seen(now, &record, Origin::Discovered, None);
                }
                discovery::Event::OwnRecordSeen { record, .. } => self.own_record_seen(&record),
                discovery::Event::Vote { from, observed } => self.voted(now, from, observed),
                discovery::Event::Equivocation { record, .. } => self.conflict(&record),
                discovery::Event::LookupDone { lookup, found, .. } => {
                    if let Some(slot) = self.member_lookups.iter_mut().find(|slot| **slot == Some(lookup)) {
                        *slot = None;
                    }
                    if let Some(record) = &found {
                        self.record_seen(now, record, Origin::Discovered, None);
                    }
                    self.lookup_done(lookup, found.as_ref());
                }
                _ => {}
            }
        }
    }

    /// Somebody shows a record: over this connection, if it was a member inside its channel.
    pub(super) fn record_seen(
        &mut self,
        now: Instant,
        record: &Record,
        origin: Origin,
        over: Option<ConnId>,
    ) {
        let Some(index) = self.cluster.index_of(record.public_key()) else { return };
        let (peer, seq) = (self.peer_id(index), record.seq());
        let before = self.cluster.member(index).record().map(|record| *record.addresses());
        match self.cluster.handle_record(now, record, origin) {
            RecordOutcome::Updated => {
                if before.is_some_and(|before| before != *record.addresses()) {
                    self.doubt(now, index);
                }
                // One that the files had no record of came in like any stranger's.
                if self.discovery.node(&record.node_id()).is_none_or(|node| !node.member) {
                    let _ = self.discovery.add_record(now, record, true);
                }
                self.services.owe_record(index.position(), over);
                self.notify(Notice::PeerRecord { peer, seq, addresses: *record.addresses() });
            }
            RecordOutcome::Conflict => self.conflict(record),
            RecordOutcome::Known | RecordOutcome::NotAMember => {}
        }
    }

    /// Somebody shows a record of our own (rule E5).
    pub(super) fn own_record_seen(&mut self, record: &Record) {
        let (seq, outcome) = (record.seq(), self.local.handle_seen(&self.identity, record));
        let again = outcome == OwnSeen::KeyUsedTwice && seq <= self.key_used_twice;
        if outcome == OwnSeen::Known || again {
            return;
        }
        if outcome == OwnSeen::KeyUsedTwice {
            self.key_used_twice = seq;
        }
        self.notify(Notice::OwnRecordSeen { seq, outcome });
    }

    /// A member signed two contents under one number. The first is kept; people are to know.
    fn conflict(&mut self, record: &Record) {
        if let Some(index) = self.cluster.index_of(record.public_key()) {
            self.counters.record_conflicts += 1;
            self.notify(Notice::RecordConflict { peer: self.peer_id(index), seq: record.seq() });
        }
    }

    fn lookup_done(&mut self, done: discovery::LookupId, found: Option<&Record>) {
        let Some(i) = self.lookups.iter().position(|lookup| lookup.lookup == done) else { return };
        let lookup = self.lookups.swap_remove(i);
        let found = found.and_then(|record| record.udp_endpoints().next());
        self.notify(Notice::LookedUp { request: lookup.request, target: lookup.target, found });
    }
}
