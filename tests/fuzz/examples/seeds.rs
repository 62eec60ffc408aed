//! Writes the seeds of every target to `fuzz/seeds`: `cargo run -p coracle-fuzz-targets --example seeds`

use std::{fs, io, path::Path};

use coracle_fuzz_targets::{TARGETS, seeds};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (target, _) in TARGETS {
        let directory = root.join(target);
        fs::create_dir_all(&directory)?;
        for (name, bytes) in seeds::of(target) {
            fs::write(directory.join(name), bytes)?;
        }
    }
    Ok(())
}
