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

/// The three Noise messages of `tampered`'s session, which is the same every time, or of another
/// session between the same two nodes.
fn recorded(session: u8) -> [Vec<u8>; 3] {
    let mut a = Party::initiator_of_session(1, session, QUIET);
    let mut b = Party::responder_of_session(2, session, QUIET);
    let mut said = Vec::new();
    talk(&mut a, &mut b, |_, _, bytes| said.push(bytes.clone())).unwrap();
    // After the two lines each.
    said.split_off(2).try_into().unwrap()
}

#[test]
fn every_flipped_bit() {
    for (message, original) in (1u8..).zip(recorded(0)) {
        for bit in 0..8 * original.len() {
            let parties = tampered(message, |bytes| {
                assert_eq!(*bytes, original);
                bytes[bit / 8] ^= 1 << (bit % 8);
            });
            assert_no_differing_views(parties, &std::format!("message {message} bit {bit}"));
        }
    }
}

#[test]
fn every_cut() {
    for (message, original) in (1u8..).zip(recorded(0)) {
        for cut in 0..original.len() {
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

/// Everything a side says is said back to it: as it comes, and message by message.
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
    let own = recorded(0);
    for (message, reflected) in [(2u8, &own[0]), (3, &own[1])] {
        let parties = tampered(message, |bytes| bytes.clone_from(reflected));
        assert_no_differing_views(parties, &std::format!("message {message} reflected"));
    }
}

/// Messages of one session in another between the same two nodes, with the same static keys.
#[test]
fn splices_between_two_sessions() {
    let (own, other) = (recorded(0), recorded(1));
    for (message, (own, foreign)) in (1u8..).zip(own.iter().zip(&other)) {
        assert_ne!(own, foreign);
        assert_eq!(own.len(), foreign.len());
        // Any tail of the message from the other session, the whole of it included.
        for at in 2..own.len() {
            let parties = tampered(message, |bytes| bytes[at..].copy_from_slice(&foreign[at..]));
            if own[at..] != foreign[at..] {
                assert_no_differing_views(parties, &std::format!("message {message} spliced at {at}"));
            }
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
