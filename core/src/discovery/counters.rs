//! What was dropped, refused and sent, and why: one number a reason.

/// Numbers since the start. Reading them changes nothing; every one saturates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Datagrams handed in.
    pub received: u64,
    /// Bytes handed in.
    pub received_bytes: u64,
    /// Datagrams from addresses that are not allowed.
    pub address_refused: u64,
    /// Datagrams handed out.
    pub sent: u64,
    /// Bytes handed out.
    pub sent_bytes: u64,
    /// Not a packet for us: size, protocol or authdata.
    pub malformed_packet: u64,
    /// Our own node id as the sender.
    pub own_id: u64,
    /// Ordinary packets that did not decrypt (each is owed a WHOAREYOU).
    pub undecryptable: u64,
    /// WHOAREYOUs not sent because the address prefix had got too many.
    pub challenge_budget: u64,
    /// Challenges that made room because their signature checks were used up.
    pub challenge_replaced: u64,
    /// WHOAREYOUs sent again for a packet that came while one was open.
    pub challenge_repeated: u64,
    /// Challenges that left their pool early for newer ones.
    pub challenge_crowded_out: u64,
    /// WHOAREYOUs that match no packet of ours, or come from another endpoint.
    pub challenge_unsolicited: u64,
    /// Further, different WHOAREYOUs for a packet that got its handshake already.
    pub challenge_conflict: u64,
    /// Handshakes without an open challenge for that id at that endpoint.
    pub handshake_unexpected: u64,
    /// Handshakes for a challenge whose signature checks are used up.
    pub handshake_checks_used_up: u64,
    /// Handshakes without a valid record of the sender: none known and none sent, or another id's.
    pub handshake_record: u64,
    /// Handshakes whose id signature does not hold.
    pub handshake_signature: u64,
    /// Handshakes whose message does not decrypt.
    pub handshake_undecryptable: u64,
    /// Signature checks made, for handshakes and records.
    pub signature_checks: u64,
    /// Signature checks not made because too many were: the handshake or record was dropped.
    pub signature_budget: u64,
    /// Records that were known byte for byte, so that no signature was checked.
    pub record_cached: u64,
    /// Sessions established.
    pub sessions_established: u64,
    /// Sessions that left the table for newer ones.
    pub sessions_evicted: u64,
    /// Packets that were decrypted before.
    pub repeated_packet: u64,
    /// Repeated requests not answered because repeats had got as many bytes as came.
    pub repeated_budget: u64,
    /// TALKREQs that were delivered before.
    pub repeated_talk: u64,
    /// Messages of a type that we do not speak.
    pub unknown_message: u64,
    /// Messages whose content is malformed.
    pub malformed_message: u64,
    /// Messages whose request id is longer than 8 bytes.
    pub long_request_id: u64,
    /// Responses that match no request of ours in id, endpoint and type.
    pub unsolicited_response: u64,
    /// NODES packets over the limit, or with another total than the first.
    pub nodes_packet: u64,
    /// Records over the limit of an answer.
    pub nodes_excess: u64,
    /// Records in NODES that are malformed or do not verify.
    pub record_invalid: u64,
    /// Records in NODES at a distance that was not asked for.
    pub record_distance: u64,
    /// Records in NODES whose address the relayer cannot know, or that no single host has.
    pub record_scope: u64,
    /// Records with a known sequence number but other content.
    pub record_equivocation: u64,
    /// Nodes refused by the limit on their address prefix.
    pub prefix_limit: u64,
    /// Candidates refused by a lookup's limit on their address prefix.
    pub lookup_prefix_limit: u64,
    /// Nodes that came to us and answered, but found no place among those of their kind.
    pub inbound_limit: u64,
    /// Strangers' records that name no endpoint that they were heard from: not pinged, not kept.
    pub record_unproven: u64,
    /// Records refused because the table had no place or they name no usable endpoint.
    pub record_refused: u64,
    /// Votes in PONGs for an address of another family than the PING went to.
    pub vote_family: u64,
    /// Packets of our own to unverified endpoints not sent because their prefix had got too many bytes.
    pub begun_budget: u64,
    /// Requests of peers dropped because the pool of answers was full.
    pub responses_full: u64,
    /// Answers not sent because their session was gone or used up.
    pub responses_without_session: u64,
    /// TALKREQs dropped because no buffer was free.
    pub talks_full: u64,
    /// TALKREQs that the embedder did not answer in time; they were answered with an empty response.
    pub talks_unanswered: u64,
    /// Requests of ours that got no answer.
    pub requests_timed_out: u64,
    /// Checks and queries of our own put off because the pool of requests was full.
    pub requests_put_off: u64,
    /// Events dropped because nobody polled them.
    pub events_dropped: u64,
    /// Packets that could not be written, and polls with a buffer below 1280 bytes.
    pub encode_failed: u64,
}

/// Adds one.
pub(super) const fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
