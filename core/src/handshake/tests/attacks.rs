//! Rules N1, N2, N4: whatever is flipped, cut, spliced or reflected, nobody completes with another
//! view than the peer's. Exhaustive over every bit of the three Noise messages.

use super::*;

/// Runs a handshake with `tamper` on one of the Noise messages (1, 2 or 3); both parties after it.
fn tampered(message: u8, tamper: impl Fn(&mut Vec<u8>)) -> (Party, Party) {
    let (mut a, mut b) = (Party::initiator(1, QUIET), Party::responder(2, QUIET));
    let hear = |to: &mut Party, mut bytes: Vec<u8>| to.hear(&mut bytes).is_ok();
    hear(&mut b, a.say());
    hear(&mut a, b.say());
    for number in 1..=3 {
        let (from, to) = if number % 2 == 1 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let mut bytes = from.say();
        if number == message {
            tamper(&mut bytes);
        }
        if !hear(to, bytes) {
            break;
        }
    }
    (a, b)
}

/// At most one side believes in the connection, and that one hears nothing but garbage or silence:
/// its keys are not the other's, because there are none. If both believe, they agree.
fn assert_no_differing_views((a, b): (Party, Party), what: &str) {
    match (a.finish(), b.finish()) {
        (Some(a), Some(b)) => {
            assert_eq!(a.hash(), b.hash(), "{what}");
            panic!("{what}: a changed message was accepted");
        }
        // The initiator is done when it has sent message 3: what was changed there it cannot know,
        // and the responder, which did not complete, never answers it.
        (Some(_), None) => assert!(what.starts_with("message 3"), "{what}"),
        (None, Some(_)) => panic!("{what}: the responder completed alone"),
        (None, None) => {}
    }
}

#[test]
fn untouched_it_completes() {
    let (a, b) = tampered(0, |_| ());
    assert_eq!(a.finish().unwrap().hash(), b.finish().unwrap().hash());
}

#[test]
fn every_flipped_bit() {
    for message in 1..=3u8 {
        let mut len = 0;
        {
            let length = core::cell::Cell::new(0);
            tampered(message, |bytes| length.set(bytes.len()));
            len += length.get();
        }
        for bit in 0..8 * len {
            let parties = tampered(message, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            assert_no_differing_views(parties, &std::format!("message {message} bit {bit}"));
        }
    }
}

#[test]
fn every_cut() {
    for message in 1..=3u8 {
        let length = core::cell::Cell::new(0);
        tampered(message, |bytes| length.set(bytes.len()));
        for cut in 0..length.get() {
            // Cut on the way, so that the rest never comes; and cut with the length made to fit.
            let parties = tampered(message, |bytes| bytes.truncate(cut));
            assert_no_differing_views(parties, &std::format!("message {message} cut to {cut}"));
            let parties = tampered(message, |bytes| {
                bytes.truncate(cut.max(2));
                let len = (bytes.len() - 2) as u16;
                bytes[..2].copy_from_slice(&len.to_be_bytes());
            });
            assert_no_differing_views(parties, &std::format!("message {message} refitted to {cut}"));
        }
    }
}

/// Everything a side says is said back to it.
#[test]
fn reflection() {
    for mut party in [Party::initiator(1, QUIET), Party::responder(2, QUIET)] {
        for _ in 0..10 {
            let mut said = party.say();
            if said.is_empty() || party.hear(&mut said).is_err() {
                break;
            }
        }
        assert_ne!(party.state(), HandshakeState::Finished);
    }
    // The initiator's message 1 given back as message 2, and message 2 as message 3.
    let (a, b) = tampered(2, |bytes| bytes.splice(2.., [9; 32]).for_each(drop));
    assert_no_differing_views((a, b), "message 2 replaced");
}

/// Messages of one handshake in another between the same two nodes.
#[test]
fn splices_between_two_sessions() {
    let record = |a: Options, b: Options| {
        let (mut a, mut b) = (Party::initiator(1, a), Party::responder(2, b));
        let mut said = Vec::new();
        talk(&mut a, &mut b, |who, _, bytes| said.push((who, bytes.clone()))).unwrap();
        said
    };
    // The other session differs in its ephemeral keys because another pair of nodes drew them.
    let (mut c, mut d) = (Party::initiator(3, QUIET), Party::responder(4, QUIET));
    let mut other = Vec::new();
    talk(&mut c, &mut d, |_, _, bytes| other.push(bytes.clone())).unwrap();
    let own = record(QUIET, QUIET);
    assert_eq!(own.len(), other.len());
    // Index 2, 3 and 4 are the Noise messages 1, 2 and 3.
    for (index, message) in [(2usize, 1u8), (3, 2), (4, 3)] {
        let foreign = &other[index];
        let parties = tampered(message, |bytes| *bytes = foreign.clone());
        assert_no_differing_views(parties, &std::format!("message {message} spliced"));
        // Only the tail: own ephemeral, foreign rest.
        if message > 1 {
            let parties = tampered(message, |bytes| {
                let from = bytes.len() - 60;
                let other = foreign.len() - 60;
                bytes.truncate(from);
                bytes.extend(&foreign[other..]);
            });
            assert_no_differing_views(parties, &std::format!("message {message} tail spliced"));
        }
    }
}

/// Rule N2: a static key that another identity vouched for is refused. Node 9 has node 3's payload
/// (identity and signature), and a static key of its own.
#[test]
fn a_borrowed_identity_is_refused() {
    let thief = identity(9);
    let mut rng = Seed::new([9; 32]).stream("thief");
    let mut key = StaticKey::new(&identity(3), &mut rng);
    key.pair = pair(rng.array());
    let machine = Machine::Initiator(Initiator::new(&key, &mut rng, QUIET));
    let mut a = Party { identity: thief, machine };
    let mut b = Party::responder(2, QUIET);
    assert_eq!(talk(&mut a, &mut b, |_, _, _| ()), Err(HandshakeError::Identity));
    assert!(b.finish().is_none());
}

#[test]
fn keys_of_small_order_are_refused() {
    let (a, b) = tampered(1, |bytes| bytes[2..34].fill(0));
    assert_eq!(b.state(), HandshakeState::Failed);
    assert_ne!(a.state(), HandshakeState::Finished);
    let (a, _) = tampered(2, |bytes| bytes[2..34].fill(0));
    assert_eq!(a.state(), HandshakeState::Failed);
}
