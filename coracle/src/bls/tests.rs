use super::*;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_random(&[byte; 32]).expect("long enough")
}

fn shared(seed: u8, threshold: usize, count: usize) -> (SecretKey, Vec<SecretKey>, Shared) {
    let secret = key(seed);
    let coefficients: Vec<SecretKey> = (1..threshold).map(|draw| key(seed ^ draw as u8)).collect();
    let shares = secret.split(&coefficients, count).expect("a threshold that fits");
    let public = shares.iter().map(SecretKey::public_key).collect();
    let shared = Shared { key: secret.public_key(), shares: public };
    (secret, shares, shared)
}

#[test]
fn known_key_and_signature() {
    // consensus-specs, tests of the BLS API: sign case of the key 0x263dbd… and the message of zeros.
    let bytes = hex::decode("263dbd792f5b1be47ed85f8938c0f29586af0d3ac7b977f21c278fe1462040e3").expect("hex");
    let secret = SecretKey::from_bytes(&bytes.try_into().expect("32 bytes")).expect("in range");
    assert_eq!(
        hex::encode(secret.public_key().to_bytes()),
        "a491d1b0ecd9bb917989f0e74f0dea0422eac4a873e5e2644f368dffb9a6e20fd6e10c1b77654d067c0618f6e5a7f79a"
    );
    assert_eq!(
        hex::encode(secret.sign(&[0; 32])),
        "b6ed936746e01f8ecf281f020953fbf1f01debd5657c4a383940b020b26507f6076334f91e2366c96e9ab279fb5158090352ea1c5b0c9274504f4f0e7053af24802e51e4568d164fe986834f41e55c8e850ce1f98458c0cfc9ab380b55285a55"
    );
}

#[test]
fn shares_of_every_threshold_make_up_the_key() {
    for count in 2..6 {
        for threshold in 2..=count {
            let (secret, _, shared) = shared(count as u8, threshold, count);
            let indexed: Vec<_> = shared.shares.iter().copied().enumerate().collect();
            for from in 0..=count - threshold {
                let some = &indexed[from..from + threshold];
                assert_eq!(recover(some), Some(secret.public_key()), "{threshold} of {count} from {from}");
            }
            assert_ne!(recover(&indexed[..threshold - 1]), Some(secret.public_key()));
            assert_eq!(first_off_polynomial(std::slice::from_ref(&shared), threshold), None);
            // A higher threshold is met as well by points of a lower degree; a lower one is not.
            assert_eq!(first_off_polynomial(std::slice::from_ref(&shared), threshold - 1), Some(0));
        }
    }
}

#[test]
fn one_wrong_share_among_many_is_found() {
    let all: Vec<Shared> = (0..9).map(|seed| shared(seed * 7 + 1, 3, 4).2).collect();
    assert_eq!(first_off_polynomial(&all, 3), None);
    assert_eq!(first_off_polynomial(&[], 3), None);
    for wrong in 0..all.len() {
        for share in 0..4 {
            let mut all = all.clone();
            all[wrong].shares[share] = key(200).public_key();
            assert_eq!(first_off_polynomial(&all, 3), Some(wrong));
        }
        let mut swapped = all.clone();
        swapped[wrong].shares.swap(0, 3);
        assert_eq!(first_off_polynomial(&swapped, 3), Some(wrong));
        let mut other = all.clone();
        other[wrong].key = key(201).public_key();
        assert_eq!(first_off_polynomial(&other, 3), Some(wrong));
    }
    assert_eq!(first_off_polynomial(&all, 0), Some(0));
    assert_eq!(first_off_polynomial(&all, 5), Some(0));
}

#[test]
fn failing_signatures_are_named() {
    let signed = |byte: u8| Signed {
        key: key(byte).public_key(),
        message: [byte; 32],
        signature: key(byte).sign(&[byte; 32]).to_vec(),
    };
    let all: Vec<Signed> = (1..=9).map(signed).collect();
    assert!(failing(&all, 8).is_empty());
    assert!(failing(&[], 8).is_empty());
    let mut bad = all.clone();
    bad[2].message[0] ^= 1;
    bad[5].signature = Vec::new();
    bad[8].signature = bad[7].signature.clone();
    assert_eq!(failing(&bad, 8), [2, 5, 8]);
    assert_eq!(failing(&bad, 2), [2, 5]);
    assert_eq!(failing(&bad[2..3], 2), [0]);
    // Two that would make up for each other if they were only added.
    let mut swapped = all.clone();
    for (to, from) in [(0, 1), (1, 0)] {
        swapped[to] = Signed { signature: all[from].signature.clone(), ..all[to].clone() };
    }
    let same: Vec<Signed> = swapped.iter().map(|one| Signed { message: [1; 32], ..one.clone() }).collect();
    assert!(failing(&same, 8).contains(&0), "{:?}", failing(&same, 8));
}

#[test]
fn the_sum_of_keys_signs_for_all() {
    let keys = [key(1), key(2), key(3)];
    let public: Vec<_> = keys.iter().map(SecretKey::public_key).collect();
    let signature = SecretKey::sum(&keys).expect("not zero").sign(b"message");
    assert!(aggregate_verifies(&public, b"message", &signature));
    assert!(!aggregate_verifies(&public, b"massage", &signature));
    assert!(!aggregate_verifies(&public[..2], b"message", &signature));
    assert!(!aggregate_verifies(&[], b"message", &signature));
    assert!(!aggregate_verifies(&public, b"message", &signature[..95]));
    assert_eq!(SecretKey::sum(&[]).err(), Some(BlsError::SecretKey));
}

#[test]
fn bytes_that_are_no_key() {
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    assert_eq!(PublicKey::from_bytes(&infinity), None);
    for bytes in [&[][..], &[0; 48], &[0xff; 48], &[0x80; 47], &[0; 96]] {
        assert_eq!(PublicKey::from_bytes(bytes), None);
    }
    assert_eq!(SecretKey::from_bytes(&[0; 32]).err(), Some(BlsError::SecretKey));
    assert_eq!(SecretKey::from_bytes(&[0xff; 32]).err(), Some(BlsError::SecretKey));
    assert_eq!(key(1).split(&[], 4).err(), Some(BlsError::Threshold { threshold: 1, shares: 4 }));
    let three = [key(2), key(3), key(4)];
    assert_eq!(key(1).split(&three, 3).err(), Some(BlsError::Threshold { threshold: 4, shares: 3 }));
    assert_eq!(format!("{:?}", key(1)), "SecretKey(redacted)");
}
