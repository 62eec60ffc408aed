//! Any bytes give a file or an error, and what is a file can be verified: never a panic.

use coracle::cluster_file::{ClusterFile, Version};
use proptest::{prelude::*, test_runner::RngSeed};

use crate::generator;

fn take_all(bytes: &[u8]) {
    if let Ok(file) = ClusterFile::parse(bytes) {
        let _ = file.verify();
        let _ = file.members();
    }
}

/// Pieces that make JSON likely.
fn json_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("null".to_owned()),
        Just("\"version\":\"v1.7.0\",".to_owned()),
        Just("\"cluster_definition\":{".to_owned()),
        Just("\"operators\":[{".to_owned()),
        Just("\"enr\":\"enr:-\"".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "\"[a-z_0-9x\\\\]{0,12}\"".prop_map(|text| text),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Always the same cases; a failure prints the input it shrank to.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(0x00C0_4AC1),
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        take_all(&bytes);
    }

    #[test]
    fn json_of_sorts(text in json_like()) {
        take_all(text.as_bytes());
    }

    #[test]
    fn damaged_files(
        minor in 0usize..12,
        lock in 0usize..2,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let version = Version::all().nth(minor).unwrap();
        let mut bytes = generator::files(version)[lock].1.clone().into_bytes();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len().max(1));
            match edit {
                _ if at >= bytes.len() => {}
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        take_all(&bytes);
    }
}
