//! Rule N8: any chunking of the bytes gives the same result; a failed decryption ends the handshake.

use proptest::prelude::*;

use super::*;

/// Feeds `bytes` to `to` in pieces of the given lengths (cyclic), as a socket would.
fn feed(to: &mut Party, bytes: &[u8], chunks: &[usize]) -> Result<(), HandshakeError> {
    let mut pending = Vec::new();
    let (mut at, mut i) = (0, 0);
    while at < bytes.len() {
        let end = bytes.len().min(at + chunks[i % chunks.len()]);
        pending.extend_from_slice(&bytes[at..end]);
        let taken = to.hear(&mut pending)?;
        pending.drain(..taken);
        (at, i) = (end, i + 1);
    }
    assert_eq!(pending, [], "everything was whole in the end");
    Ok(())
}

fn run(chunks: &[usize]) -> (Finished, Finished) {
    let mut a = Party::initiator(1, Options::default());
    let mut b = Party::responder(2, Options::default());
    for _ in 0..TURNS {
        let said = a.say();
        feed(&mut b, &said, chunks).unwrap();
        let said = b.say();
        feed(&mut a, &said, chunks).unwrap();
    }
    (a.finish().unwrap(), b.finish().unwrap())
}

proptest! {
    #![proptest_config(crate::testing::cases(10))]

    #[test]
    fn any_chunking_gives_the_same(chunks in proptest::collection::vec(1usize..300, 1..20)) {
        let whole = run(&[usize::MAX / 2]);
        let cut = run(&chunks);
        prop_assert_eq!(whole.0.hash(), cut.0.hash());
        prop_assert_eq!(whole.1.hash(), cut.1.hash());
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..600), lead in 0usize..4) {
        let lead: &[u8] = [&b""[..], b"\x13/multistream/1.0.0\n", b"\x13/multistream/1.0.0\n\x07/noise\n",
            b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20"][lead];
        for mut party in [Party::initiator(1, QUIET), Party::responder(2, QUIET)] {
            party.say();
            let mut all = lead.to_vec();
            all.extend(&bytes);
            let n = all.len();
            if let Ok(taken) = party.hear(&mut all) {
                prop_assert!(taken <= n);
            }
            party.say();
            prop_assert_ne!(party.state(), HandshakeState::Finished);
        }
    }
}

/// Byte by byte, the smallest chunks there are.
#[test]
fn byte_by_byte() {
    let (a, b) = run(&[1]);
    assert_eq!(a.hash(), b.hash());
}

/// Also when the first half of the message did authenticate.
#[test]
fn a_failed_decryption_ends_the_handshake() {
    for flip_from_end in [1, 20, 150] {
        let (mut a, mut b) =
            (Party::initiator(1, Options::default()), Party::responder(2, Options::default()));
        let mut last = Vec::new();
        for _ in 0..TURNS {
            let mut said = a.say();
            if a.state() == HandshakeState::Finished {
                last = said;
                break;
            }
            b.hear(&mut said).unwrap();
            let mut said = b.say();
            a.hear(&mut said).unwrap();
        }
        let at = last.len() - flip_from_end;
        last[at] ^= 1;
        assert_eq!(b.hear(&mut last), Err(HandshakeError::Decrypt { message: 3 }));
        assert_eq!(b.state(), HandshakeState::Failed);
    }
}
