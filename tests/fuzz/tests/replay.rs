//! Every committed seed, through its target. `regression-*` are the inputs of findings that were fixed.

use std::{fs, path::Path};

use coracle_fuzz_targets::TARGETS;

/// Runs the files of a directory; how many there were.
fn replay(target: &str, run: fn(&[u8]), directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in &paths {
        println!("{target}: {}", path.display());
        run(&fs::read(path).unwrap());
    }
    paths.len()
}

fn replay_seeds(target: &str) {
    let (_, run) = *TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = replay(target, run, &root.join("fuzz/seeds").join(target));
    if target == "cluster_file" {
        count += replay(target, run, &root.join("coracle/tests/fixtures"));
    }
    assert!(count > 3, "{target} has {count} seeds only");
}

macro_rules! replayed {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay_seeds(stringify!($target));
        })*

        #[test]
        fn every_target_is_replayed() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($target)),*]);
        }
    };
}

replayed!(record packet message handshake channel node cluster_file scenario);
