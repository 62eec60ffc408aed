//! Packets in: sessions, challenges and handshakes. What a message says is handled in `answer`.

use core::net::SocketAddr;

use super::{
    counters::count,
    event::{Event, RecordSource},
    keys::{self, Keys},
    machine::{Discovery, owed},
    packet::{self, Auth, ChallengeData, Nonce, Packet},
    peer::{Peer, canonical},
    requests::{Ask, Challenged, Contact, Nodes, Opening, Origin},
    session::{Generation, Opened},
    table::Offered,
};
use crate::{
    collections::Key,
    crypto::{Crypto, Identity, PublicKey, Signature, TAG_LEN},
    id::NodeId,
    limits::{MAX_HANDSHAKE_REPEATS, MAX_OPENING_HANDSHAKES},
    record::Record,
    time::Instant,
};

/// The first message under new keys.
const FRESH: Opened = Opened { generation: Generation::Current, repeated: false, renewed: false };

/// The parts of a handshake packet's authdata that the handshake is checked by.
struct Proof<'a> {
    signature: Signature,
    ephemeral: &'a [u8; 33],
    record: &'a [u8],
}

impl Discovery {
    /// Takes a datagram in. It is unmasked and decrypted in place; what it was dropped for, if it
    /// was, stands in [`Discovery::counters`].
    pub fn handle_datagram<C: Crypto>(
        &mut self,
        identity: &Identity<C>,
        now: Instant,
        from: SocketAddr,
        bytes: &mut [u8],
    ) {
        let now = self.now.advance(now);
        let from = canonical(from);
        count(&mut self.counters.received);
        let Ok(packet) = packet::decode(identity.crypto(), &self.local.node_id(), bytes) else {
            count(&mut self.counters.malformed_packet);
            return;
        };
        match packet.auth {
            Auth::WhoAreYou { data, enr_seq } => self.on_challenge(from, packet.nonce, data, enr_seq),
            Auth::Message { src } | Auth::Handshake { src, .. } if src == self.local.node_id() => {
                count(&mut self.counters.own_id);
            }
            Auth::Message { src } => {
                self.on_packet(identity, now, Peer { id: src, endpoint: from }, packet);
            }
            Auth::Handshake { src, signature, ephemeral, record } => {
                let proof = Proof { signature, ephemeral, record };
                let peer = Peer { id: src, endpoint: from };
                self.on_handshake(identity, now, peer, packet.nonce, packet.header, packet.message, &proof);
            }
        }
    }

    /// An ordinary packet: in a session, under the keys of a handshake of ours, or owed a WHOAREYOU.
    fn on_packet<C: Crypto>(&mut self, identity: &Identity<C>, now: Instant, peer: Peer, packet: Packet<'_>) {
        let Packet { nonce, header, message, .. } = packet;
        let crypto = identity.crypto();
        let mut opened =
            self.sessions.open(&peer, |session| session.open(crypto, now, &nonce, header, message));
        if opened.is_none() && self.confirm(crypto, now, &peer, &nonce, header, message) {
            opened = Some(FRESH);
        }
        let Some(opened) = opened else {
            count(&mut self.counters.undecryptable);
            self.challenge(now, peer, &nonce);
            return;
        };
        if opened.renewed {
            self.established(&peer, true);
        }
        if opened.repeated {
            count(&mut self.counters.repeated_packet);
        }
        let text = message.len().checked_sub(TAG_LEN).and_then(|len| message.get(..len));
        self.on_message(crypto, now, peer, text.unwrap_or_default(), opened);
    }

    /// Owes the sender of an undecryptable packet a WHOAREYOU: the one that is open, or a new one.
    fn challenge(&mut self, now: Instant, peer: Peer, nonce: &Nonce) {
        let enr_seq = self.table.seq(&peer.id);
        let open = self.challenges.of(&peer);
        let (key, crowded) = self.challenges.answer(peer, nonce, enr_seq, now, &mut self.rng);
        if crowded {
            count(&mut self.counters.challenge_crowded_out);
        }
        let Some(key) = key else { return };
        if open.contains(&Some(key)) {
            count(&mut self.counters.challenge_repeated);
        }
        self.owed.add(owed::CHALLENGE, key.index());
    }

    /// Tries the keys of handshakes of ours that wait for their first message. If one fits, its
    /// session is established: only now, because only the true peer could send this.
    fn confirm<C: Crypto>(
        &mut self,
        crypto: &C,
        now: Instant,
        peer: &Peer,
        nonce: &Nonce,
        header: &[u8],
        message: &mut [u8],
    ) -> bool {
        let opening = self.openings.find(peer).and_then(|at| self.openings.get(at));
        let fits = opening.and_then(|opening| {
            opening.sent.iter().position(|sent| sent.keys.open(crypto, nonce, header, message).is_ok())
        });
        let Some(fits) = fits else { return false };
        let Some(mut opening) = self.close_opening(peer) else { return false };
        let handshake = opening.sent.swap_remove(fits);
        self.establish(now, *peer, handshake.public_key, handshake.keys, nonce, true);
        self.keep_offered(now, peer, &mut opening);
        self.resend(peer, handshake.carried);
        if handshake.enr_seq > self.local.seq() {
            self.ask_for_own_record(peer, handshake.public_key);
        }
        true
    }

    /// A peer said in its challenge that it has a newer record of ours than we: that is a hint only,
    /// so ask it to show the record.
    fn ask_for_own_record(&mut self, peer: &Peer, public_key: PublicKey) {
        let distance = peer.id.log_distance(&self.local.node_id());
        let contact = Contact::new(peer.id, peer.endpoint, public_key);
        let Some(nodes) = Nodes::new(&[distance]) else { return };
        if self.begin_request(contact, Ask::FindNode(nodes), Origin::Refresh).is_none() {
            count(&mut self.counters.requests_put_off);
        }
    }

    /// A WHOAREYOU: nonce and source must be those of a packet of ours, and each packet gets one
    /// handshake. The same challenge again gets the same handshake again.
    fn on_challenge(&mut self, from: SocketAddr, nonce: Nonce, data: &ChallengeData, enr_seq: u64) {
        let Some(key) = self.requests.challenged_by(&nonce, &from) else {
            count(&mut self.counters.challenge_unsolicited);
            return;
        };
        let Some(peer) = self.requests.get(key).map(|request| request.contact.peer) else { return };
        let Some(at) = self.opening(&peer, key) else { return };
        let Some(opening) = self.openings.get_mut(at) else { return };
        let answered = opening.sent.iter().position(|sent| sent.nonce == nonce);
        if let Some(answered) = answered {
            let newest = answered + 1 == opening.sent.len();
            let same = opening.sent.get(answered).is_some_and(|sent| sent.data == *data);
            if !same || !newest || opening.repeats >= MAX_HANDSHAKE_REPEATS {
                count(&mut self.counters.challenge_conflict);
                return;
            }
            opening.repeats += 1;
            opening.repeat = true;
        } else {
            if opening.handshakes >= MAX_OPENING_HANDSHAKES {
                count(&mut self.counters.challenge_conflict);
                return;
            }
            opening.handshakes += 1;
            opening.challenge = Some(Challenged { data: *data, nonce, enr_seq, request: key });
        }
        self.owed.add(owed::HANDSHAKE, at.index());
    }

    /// The opening of a session with `peer`, begun by `owner` if there is none.
    fn opening(&mut self, peer: &Peer, owner: Key) -> Option<Key> {
        if let Some(at) = self.openings.find(peer) {
            return Some(at);
        }
        let serial = self.sessions.find(peer).map_or(0, |session| session.serial);
        self.openings.insert(*peer, Opening::new(owner, serial)).ok()
    }

    /// A handshake packet: the answer to a challenge of ours.
    #[allow(clippy::too_many_arguments)] // the parts of one packet, whose borrows end apart
    fn on_handshake<C: Crypto>(
        &mut self,
        identity: &Identity<C>,
        now: Instant,
        peer: Peer,
        nonce: Nonce,
        header: &[u8],
        message: &mut [u8],
        proof: &Proof<'_>,
    ) {
        let crypto = identity.crypto();
        self.challenges.expire(now);
        let open = self.challenges.of(&peer);
        if open == [None, None] {
            count(&mut self.counters.handshake_unexpected);
            return;
        }
        let Some((public_key, record)) = self.claimed_record(crypto, &peer.id, proof.record, open) else {
            return;
        };
        let Some(data) = self.signed_challenge(crypto, &public_key, open, proof) else { return };
        let shared = crypto
            .decompress(proof.ephemeral)
            .and_then(|ephemeral| crypto.ecdh(identity.secret(), &ephemeral));
        let local = self.local.node_id();
        let keys = shared.map(|shared| Keys::recipient(crypto, &shared, &peer.id, &local, &data));
        let Some(keys) = keys.filter(|keys| keys.open(crypto, &nonce, header, message).is_ok()) else {
            count(&mut self.counters.handshake_undecryptable);
            return;
        };
        self.challenges.close_all(&peer);
        if let Some(record) = record {
            self.offer(&record, RecordSource::Handshake, now);
        }
        self.establish(now, peer, public_key, keys, &nonce, false);
        self.after_their_handshake(&peer);
        let text = message.len().checked_sub(TAG_LEN).and_then(|len| message.get(..len));
        self.on_message(crypto, now, peer, text.unwrap_or_default(), FRESH);
    }

    /// The key that a handshake must be signed with: from the record in it, or the one we have. The
    /// record's id must be the one in the packet. A record that is new to us costs one of the
    /// signature checks of the challenge; it is returned.
    fn claimed_record<C: Crypto>(
        &mut self,
        crypto: &C,
        id: &NodeId,
        bytes: &[u8],
        open: [Option<Key>; 2],
    ) -> Option<(PublicKey, Option<Record>)> {
        let known = self.table.find(id).map(|node| &node.record);
        if let Some(known) = known.filter(|known| bytes.is_empty() || known.as_bytes() == bytes) {
            return Some((*known.public_key(), None));
        }
        if bytes.is_empty() {
            count(&mut self.counters.handshake_record);
            return None;
        }
        let paid = open.into_iter().flatten().any(|key| self.challenges.spend_check(key));
        if !paid {
            count(&mut self.counters.handshake_checks_used_up);
            return None;
        }
        let record = Record::decode(bytes, crypto).ok().filter(|record| record.node_id() == *id);
        if record.is_none() {
            count(&mut self.counters.handshake_record);
        }
        record.map(|record| (*record.public_key(), Some(record)))
    }

    /// The open challenge that a handshake is signed for.
    fn signed_challenge<C: Crypto>(
        &mut self,
        crypto: &C,
        public_key: &PublicKey,
        open: [Option<Key>; 2],
        proof: &Proof<'_>,
    ) -> Option<ChallengeData> {
        let local = self.local.node_id();
        let mut checked = false;
        for key in open.into_iter().flatten() {
            let Some(data) = self.challenges.get(key).map(|challenge| challenge.data) else { continue };
            if !self.challenges.spend_check(key) {
                continue;
            }
            checked = true;
            if keys::verify_id(crypto, public_key, &data, proof.ephemeral, &local, &proof.signature) {
                return Some(data);
            }
        }
        let why = &mut self.counters;
        count(if checked { &mut why.handshake_signature } else { &mut why.handshake_checks_used_up });
        None
    }

    /// Puts authenticated keys in force.
    fn establish(
        &mut self,
        now: Instant,
        peer: Peer,
        public_key: PublicKey,
        keys: Keys,
        nonce: &Nonce,
        initiated_by_us: bool,
    ) {
        let old_until = now + self.config.old_keys_lifetime;
        let member = self.table.is_member(&peer.id);
        if self.sessions.install(peer, public_key, keys, old_until, member).is_some() {
            count(&mut self.counters.sessions_evicted);
        }
        if let Some(session) = self.sessions.using(&peer) {
            session.remember(nonce);
        }
        self.table.seen_at(&peer.id, peer.endpoint, now, &mut self.rng);
        self.established(&peer, initiated_by_us);
    }

    /// New keys are in force.
    fn established(&mut self, peer: &Peer, initiated_by_us: bool) {
        count(&mut self.counters.sessions_established);
        let (id, endpoint) = (peer.id, peer.endpoint);
        self.event(Event::SessionEstablished { id, endpoint, initiated_by_us });
    }

    /// An opening ends, but its newest handshake may yet be answered: the keys stay with the session
    /// that there is. Otherwise a peer that took them up would be heard no more.
    pub(super) fn keep_offered(&mut self, now: Instant, peer: &Peer, opening: &mut Opening) {
        let until = now + self.config.old_keys_lifetime;
        if let Some(handshake) = opening.sent.pop()
            && let Some(session) = self.sessions.using(peer)
        {
            session.offer(handshake.keys, until);
        }
    }

    /// The peer opened a session. If we were opening one too and sent no handshake yet, ours is
    /// needless; if we did, its keys may still be confirmed. What waited goes out in theirs.
    fn after_their_handshake(&mut self, peer: &Peer) {
        let opening = self.openings.find(peer).and_then(|at| self.openings.get(at));
        let needless = opening.is_some_and(|opening| opening.sent.is_empty() && opening.challenge.is_none());
        let carrying = opening.filter(|_| !needless).map(|opening| opening.owner);
        if needless {
            self.close_opening(peer);
        }
        self.resend(peer, carrying);
    }

    /// Hands a verified record to the table, and counts what it was refused for.
    pub(super) fn offer(&mut self, record: &Record, source: RecordSource, now: Instant) {
        match self.table.offer(record, source, now, &mut self.rng) {
            Offered::Taken(key) => self.node_news(Some(key)),
            Offered::Equivocation => {
                count(&mut self.counters.record_equivocation);
                if self.table.is_member(&record.node_id()) {
                    self.event(Event::Equivocation { record: record.clone(), source });
                }
            }
            Offered::PrefixLimit => count(&mut self.counters.prefix_limit),
            Offered::Known(_) | Offered::Refused => {}
        }
    }
}
