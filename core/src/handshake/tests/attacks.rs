//! Rules N2 and N4: who borrows an identity, or sends useless keys or short messages, gets nowhere.

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

/// The three Noise messages of `tampered`'s session, which is the same every time.
fn recorded() -> [Vec<u8>; 3] {
    let mut a = Party::initiator(1, QUIET);
    let mut b = Party::responder(2, QUIET);
    let mut said = Vec::new();
    talk(&mut a, &mut b, |_, _, bytes| said.push(bytes.clone())).unwrap();
    // After the two lines each.
    said.split_off(2).try_into().unwrap()
}

/// Every message shortened, with its length made to fit.
#[test]
fn every_refitted_cut() {
    for (message, original) in (1u8..).zip(recorded()) {
        for cut in 0..original.len() {
            let parties = tampered(message, |bytes| {
                bytes.truncate(cut.max(2));
                let len = (bytes.len() - 2) as u16;
                bytes[..2].copy_from_slice(&len.to_be_bytes());
            });
            assert_no_differing_views(parties, &std::format!("message {message} refitted to {cut}"));
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

    // The same from the other side.
    let machine = Machine::Responder(Responder::new(&key, &mut rng, QUIET));
    let mut b = Party { identity: identity(9), machine };
    let mut a = Party::initiator(1, QUIET);
    assert_eq!(talk(&mut a, &mut b, |_, _, _| ()), Err(HandshakeError::Identity));
    assert!(a.finish().is_none());
}

#[test]
fn keys_of_small_order_are_refused() {
    let (a, b) = tampered(1, |bytes| bytes[2..34].fill(0));
    assert_eq!(b.state(), HandshakeState::Failed);
    assert_ne!(a.state(), HandshakeState::Finished);
    let (a, _) = tampered(2, |bytes| bytes[2..34].fill(0));
    assert_eq!(a.state(), HandshakeState::Failed);
}

/// Message 1 is one key; 2 and 3 have their keys and two tags at least. What is long enough is read.
#[test]
fn messages_of_the_wrong_length_are_named() {
    let of_length = |number: u8, len: usize| {
        let (mut a, mut b) = (Party::initiator(1, QUIET), Party::responder(2, QUIET));
        let mut said = 0;
        let result = talk(&mut a, &mut b, |_, _, bytes| {
            said += 1;
            // Both sides' lines come first.
            if said == 2 + number {
                bytes.resize(2 + len, 0);
                bytes[..2].copy_from_slice(&(len as u16).to_be_bytes());
            }
        });
        result.unwrap_err()
    };
    for (message, least) in [(2, 32 + 48 + 16), (3, 48 + 16)] {
        for len in [0, 31, 32, 47, least - 1] {
            assert_eq!(of_length(message, len), HandshakeError::WrongLength { message, len });
        }
        assert_eq!(of_length(message, least), HandshakeError::Decrypt { message });
    }
    for len in [0, 31, 33] {
        assert_eq!(of_length(1, len), HandshakeError::WrongLength { message: 1, len });
    }
}

/// The length alone is enough to refuse a message, so that nobody is waited for to send so much.
#[test]
fn a_message_too_long_is_refused_before_it_is_there() {
    let length = |len: usize| (len as u16).to_be_bytes();
    let most = limits::MAX_HANDSHAKE_MESSAGE;
    let mut a = Party::initiator(1, QUIET);
    a.say();
    a.hear(&mut b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec()).unwrap();
    a.say();
    let mut b = Party::responder(2, QUIET);
    b.hear(&mut b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec()).unwrap();
    for (message, mut party) in [(2, a), (1, b)] {
        assert_eq!(party.hear(&mut length(most)), Ok(0), "it may be long");
        let too_long = HandshakeError::TooLong { message, len: most + 1 };
        assert_eq!(party.hear(&mut length(most + 1)), Err(too_long));
        assert_eq!(party.state(), HandshakeState::Failed);
        assert_eq!(party.hear(&mut []), Err(HandshakeError::Ended), "and dead it stays");
    }
}
