//! Packets in: sessions, challenges and handshakes. What a message says is handled in `answer`.

use core::net::SocketAddr;

use super::{
    budget::{CHECKS, Kind},
    counters::count,
    event::{Event, RecordSource},
    keys::{self, Keys},
    machine::{Discovery, owed},
    packet::{self, Auth, ChallengeData, Nonce, Packet},
    peer::{Peer, canonical},
    requests::{Ask, Challenged, Contact, Nodes, Opening, Origin},
    session::Opened,
    table::Offered,
    verified::{Digest, Known},
};
use crate::{
    collections::Key,
    crypto::{Crypto, Identity, PublicKey, Signature, TAG_LEN},
    id::NodeId,
    limits::{MAX_HANDSHAKE_REPEATS, MAX_OPENING_HANDSHAKES},
    record::{Claim, Form, Record, RecordError},
    time::Instant,
    zoo::{self, Bug},
};

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unverified {
    /// Its signature does not hold.
    Invalid,
    /// Too many signatures were checked lately.
    Budget,
}

/// A record that came.
pub(super) struct Incoming<'a> {
    pub(super) claim: Claim<'a>,
    digest: Digest,
    /// Whether these very bytes were verified before.
    pub(super) verified: bool,
}

impl<'a> Incoming<'a> {
    /// Reads all of a record but the signature; the key is not decompressed again if its bytes are known.
    pub(super) fn read<C: Crypto>(crypto: &C, bytes: &'a [u8], known: Known) -> Result<Self, RecordError> {
        let form = Form::read(bytes)?;
        let claim = match known.owner {
            Some(owner) => form.owned_by(owner),
            None => form.claim(crypto)?,
        };
        Ok(Self { claim, digest: known.digest, verified: known.owner.is_some() })
    }
}

/// The parts of a handshake packet's authdata that the handshake is checked by.
struct Proof<'a> {
    signature: Signature,
    ephemeral: &'a [u8; 33],
    record: &'a [u8],
}

impl<C: Crypto> Discovery<C> {
    /// Takes a datagram in. It is unmasked and decrypted in place; what it was dropped for, if it
    /// was, stands in [`Discovery::counters`].
    pub fn handle_datagram(
        &mut self,
        identity: &Identity<C>,
        now: Instant,
        from: SocketAddr,
        bytes: &mut [u8],
    ) {
        let now = self.now.advance(now);
        let from = canonical(from);
        count(&mut self.counters.received);
        self.counters.received_bytes = self.counters.received_bytes.saturating_add(bytes.len() as u64);
        if !self.table.allows(from.ip()) {
            count(&mut self.counters.address_refused);
            return;
        }
        self.sessions.expire(now);
        let Ok(packet) = packet::decode_with(identity.crypto(), identity.mask(), bytes) else {
            count(&mut self.counters.malformed_packet);
            return;
        };
        match packet.auth {
            Auth::WhoAreYou { data, .. } => self.on_challenge(from, packet.nonce, data),
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
    fn on_packet(&mut self, identity: &Identity<C>, now: Instant, peer: Peer, packet: Packet<'_>) {
        let Packet { nonce, header, message, .. } = packet;
        let crypto = identity.crypto();
        let mut opened = self.sessions.open(crypto, &peer, &nonce, header, message);
        if opened.is_none() && self.confirm(crypto, now, &peer, &nonce, header, message) {
            opened = Some(Opened::fresh(nonce));
        }
        let Some(opened) = opened else {
            count(&mut self.counters.undecryptable);
            if zoo::has(Bug::SessionDroppedByJunk) {
                self.sessions.remove_peer(&peer);
            }
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
        let (member, enr_seq) = self.table.member_and_seq(&peer);
        if !self.prefixes.spend(peer.endpoint.ip(), Kind::Challenge, 1, member, now) {
            count(&mut self.counters.challenge_budget);
            return;
        }
        let answered = self.challenges.answer(peer, nonce, enr_seq, member, now, &mut self.rng);
        if answered.crowded {
            count(&mut self.counters.challenge_crowded_out);
        }
        if answered.replaced {
            count(&mut self.counters.challenge_replaced);
        }
        if answered.repeated {
            count(&mut self.counters.challenge_repeated);
        }
        if answered.replaced && member {
            // Somebody may be answering in the member's place: begin from here, where nobody can. Also in a
            // session that there is, since the member may have lost its keys.
            self.table.check_now(&peer.id, now);
        }
        let Some(key) = answered.key else { return };
        self.owed.add(owed::CHALLENGE, key.index());
    }

    /// Tries the keys of handshakes of ours that wait for their first message. If one fits, its
    /// session is established: only now, because only the true peer could send this.
    fn confirm(
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
        let opening = self.openings.find(peer).and_then(|at| self.openings.get_mut(at));
        let Some(opening) = opening else { return false };
        let owner = opening.owner;
        let Some(handshake) = opening.sent.get_mut(fits) else { return false };
        let keys = handshake.keys.take();
        let (carried, enr_seq) = (handshake.carried, packet::claimed_seq(&handshake.data));
        let len = (header.len() + message.len()) as u32;
        self.establish(now, *peer, keys, nonce, len, true);
        self.end_opening(now, peer, Some(fits));
        self.resend(peer, carried);
        let owner = self.requests.get(owner).filter(|_| enr_seq > self.local.seq());
        if let Some(public_key) = owner.map(|request| request.contact.public_key) {
            self.ask_for_own_record(peer, public_key);
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
    fn on_challenge(&mut self, from: SocketAddr, nonce: Nonce, data: &ChallengeData) {
        let Some(key) = self.requests.challenged_by(&nonce, &from) else {
            count(&mut self.counters.challenge_unsolicited);
            return;
        };
        let Some(peer) = self.requests.get(key).map(|request| request.contact.peer) else { return };
        let Some(at) = self.opening(&peer, key) else { return };
        let Some(opening) = self.openings.get_mut(at) else { return };
        let answered = opening.sent.iter().position(|sent| packet::answered_nonce(&sent.data) == nonce);
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
            opening.challenge = Some(Challenged { data: *data, request: key });
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
    fn on_handshake(
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
        let member = self.table.is_member_at(&peer);
        let claimed = self.claimed_record(crypto, now, &peer.id, proof.record, open, member);
        let Some((public_key, record)) = claimed else { return };
        let Some(data) = self.signed_challenge(crypto, now, &public_key, open, proof, member) else { return };
        let shared = crypto
            .decompress(proof.ephemeral)
            .and_then(|ephemeral| crypto.ecdh(identity.secret(), &ephemeral));
        let local = self.local.node_id();
        let keys = shared.map(|shared| Keys::recipient(crypto, &shared, &peer.id, &local, &data));
        let opens = |keys: &Keys| {
            keys.open(crypto, &nonce, header, message).is_ok() || zoo::has(Bug::SessionBeforeMessage)
        };
        let Some(keys) = keys.filter(opens) else {
            count(&mut self.counters.handshake_undecryptable);
            return;
        };
        self.challenges.close_all(&peer);
        if let Some(record) = record {
            self.offer(&record, RecordSource::Handshake, peer.endpoint, now);
        }
        let len = (header.len() + message.len()) as u32;
        self.establish(now, peer, keys, &nonce, len, false);
        self.after_their_handshake(&peer);
        let text = message.len().checked_sub(TAG_LEN).and_then(|len| message.get(..len));
        self.on_message(crypto, now, peer, text.unwrap_or_default(), Opened::fresh(nonce));
    }

    /// The key that a handshake must be signed with: from the record in it, or the one we have. The
    /// record's id must be the one in the packet. A record that is new to us costs one of the
    /// signature checks of the challenge; it is returned.
    fn claimed_record(
        &mut self,
        crypto: &C,
        now: Instant,
        id: &NodeId,
        bytes: &[u8],
        open: [Option<Key>; 2],
        member: bool,
    ) -> Option<(PublicKey, Option<Record>)> {
        let known = self.table.find(id).map(|node| &node.record);
        if let Some(known) = known.filter(|known| bytes.is_empty() || known.as_bytes() == bytes) {
            return Some((*known.public_key(), None));
        }
        let left = open.into_iter().flatten().find(|key| self.challenges.has_checks(*key));
        let Some(left) = left else {
            count(&mut self.counters.handshake_checks_used_up);
            return None;
        };
        let Ok(incoming) = Incoming::read(crypto, bytes, self.verified.known(bytes)) else {
            count(&mut self.counters.handshake_record);
            return None;
        };
        if incoming.claim.node_id() != *id && !zoo::has(Bug::RecordOfAnotherId) {
            // It was read in vain, so it counts.
            self.challenges.spend_check(left);
            count(&mut self.counters.handshake_record);
            return None;
        }
        let before = self.counters.signature_checks;
        let record = self.verified_record(crypto, now, incoming, member);
        if self.counters.signature_checks != before {
            self.challenges.spend_check(left);
        }
        if record == Err(Unverified::Invalid) {
            count(&mut self.counters.handshake_record);
        }
        record.ok().map(|record| (*record.public_key(), Some(record)))
    }

    /// Verifies a record: at the cost of a signature check, unless these very bytes were verified
    /// before. `member`: whether it may use what is reserved for members.
    pub(super) fn verified_record(
        &mut self,
        crypto: &C,
        now: Instant,
        incoming: Incoming<'_>,
        member: bool,
    ) -> Result<Record, Unverified> {
        let Incoming { claim, digest, verified } = incoming;
        let owner = claim.owner();
        let same = |record: &Record| record.as_bytes() == claim.as_bytes();
        let known = verified
            || same(&self.local)
            || self.table.find(&claim.node_id()).is_some_and(|node| same(&node.record));
        let record = if known {
            count(&mut self.counters.record_cached);
            claim.trust()
        } else if self.spend_signature(now, member) {
            claim.verify(crypto)
        } else {
            return Err(Unverified::Budget);
        };
        let record = record.map_err(|_| Unverified::Invalid)?;
        if !verified {
            self.verified.remember(&digest, owner);
        }
        Ok(record)
    }

    /// Spends one of the signature checks of the whole machine.
    fn spend_signature(&mut self, now: Instant, member: bool) -> bool {
        let paid = self.checks.spend(CHECKS, 1, member, now);
        count(if paid { &mut self.counters.signature_checks } else { &mut self.counters.signature_budget });
        paid
    }

    /// The open challenge that a handshake is signed for.
    fn signed_challenge(
        &mut self,
        crypto: &C,
        now: Instant,
        public_key: &PublicKey,
        open: [Option<Key>; 2],
        proof: &Proof<'_>,
        member: bool,
    ) -> Option<ChallengeData> {
        let local = self.local.node_id();
        let mut checked = false;
        for key in open.into_iter().flatten() {
            let Some(data) = self.challenges.get(key).map(|challenge| challenge.data) else { continue };
            if !self.challenges.has_checks(key) {
                continue;
            }
            if !self.spend_signature(now, member) {
                return None;
            }
            self.challenges.spend_check(key);
            checked = true;
            if keys::verify_id(crypto, public_key, &data, proof.ephemeral, &local, &proof.signature) {
                return Some(data);
            }
        }
        let why = &mut self.counters;
        count(if checked { &mut why.handshake_signature } else { &mut why.handshake_checks_used_up });
        None
    }

    /// Puts authenticated keys in force; `len` bytes came under them.
    fn establish(
        &mut self,
        now: Instant,
        peer: Peer,
        keys: Keys,
        nonce: &Nonce,
        len: u32,
        initiated_by_us: bool,
    ) {
        let old_until = now + self.config.old_keys_lifetime;
        let member = self.table.is_member(&peer.id);
        if self.sessions.install(peer, keys, old_until, member).is_some() {
            count(&mut self.counters.sessions_evicted);
        }
        if let Some(session) = self.sessions.using(&peer) {
            session.remember(nonce, len);
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
    /// that there is, unless they are the `used` ones. Otherwise a peer that took them up would be
    /// heard no more.
    pub(super) fn end_opening(&mut self, now: Instant, peer: &Peer, used: Option<usize>) {
        let Some(at) = self.openings.find(peer) else { return };
        let Some(opening) = self.openings.get_mut(at) else { return };
        let newest = opening.sent.len().checked_sub(1).filter(|newest| Some(*newest) != used);
        if let Some(handshake) = newest.and_then(|newest| opening.sent.get_mut(newest))
            && self.sessions.find(peer).is_some()
        {
            let until = now + self.config.old_keys_lifetime;
            self.sessions.offer(peer, handshake.keys.take(), until);
        }
        self.discard_opening(at);
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

    /// Hands a verified record that came from `at` to the table, and counts what it was refused for; whether it is
    /// news to the table.
    pub(super) fn offer(
        &mut self,
        record: &Record,
        source: RecordSource,
        at: SocketAddr,
        now: Instant,
    ) -> bool {
        let offered = self.table.offer(record, source, at, now, &mut self.rng);
        match offered {
            Offered::Taken(key) => self.node_news(Some(key)),
            Offered::Equivocation => {
                count(&mut self.counters.record_equivocation);
                if self.table.is_member(&record.node_id()) {
                    self.event(Event::Equivocation { record: record.clone(), source });
                }
            }
            Offered::PrefixLimit => count(&mut self.counters.prefix_limit),
            Offered::Unproven => {
                count(&mut self.counters.record_unproven);
                if source == RecordSource::Handshake {
                    // The table has no use for it; the embedder may have.
                    self.event(Event::RecordSeen { record: record.clone(), source });
                }
            }
            Offered::Refused => count(&mut self.counters.record_refused),
            Offered::Known(_) => {}
        }
        matches!(offered, Offered::Taken(_))
    }
}
