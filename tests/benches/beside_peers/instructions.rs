//! Instructions of each operation of ours, beside those in a committed file for the same compiler and processor.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use crate::{callgrind, measure::Op, rows};

/// Runs of one operation that are counted.
const RUNS: u64 = 20;
/// By how much an operation may rise, in parts of one.
const TOLERANCE: f64 = 0.02;

/// Counts, and compares with the baseline, or with `write` makes it. False when an operation rose.
pub(crate) fn run(write: bool) -> bool {
    let mut counts = BTreeMap::new();
    for (name, op) in rows::operations() {
        let Some(count) = callgrind::each(name, RUNS, op().per_run) else { return true };
        println!("{name:24} {count:12.0} instructions");
        counts.insert(name.to_owned(), count.round() as u64);
    }
    let file = baseline();
    if write {
        let lines: String = counts.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
        let written =
            fs::create_dir_all(file.parent().unwrap_or(&file)).and_then(|()| fs::write(&file, lines));
        match written {
            Ok(()) => println!("written to {}", file.display()),
            Err(error) => println!("cannot write {}: {error}", file.display()),
        }
        return true;
    }
    let Ok(before) = fs::read_to_string(&file) else {
        println!(
            "no baseline for this compiler and processor ({}); `-- instructions --write` makes one",
            file.display()
        );
        return true;
    };
    compare(&before, &counts)
}

fn compare(before: &str, now: &BTreeMap<String, u64>) -> bool {
    let before: BTreeMap<&str, u64> = before
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, count)| Some((name, count.trim().parse().ok()?)))
        .collect();
    let mut good = true;
    for (name, count) in now {
        let Some(known) = before.get(name.as_str()) else {
            println!("{name}: not in the baseline");
            continue;
        };
        let change = *count as f64 / *known as f64 - 1.0;
        if change.abs() > TOLERANCE {
            println!("{name}: {known} -> {count} instructions, {:+.1} %", change * 100.0);
        }
        good &= change <= TOLERANCE;
    }
    println!("{}", if good { "nothing rose by more than 2 %" } else { "some rose by more than 2 %" });
    good
}

/// The file for this compiler and processor.
fn baseline() -> PathBuf {
    let compiler = Command::new("rustc").arg("--version").output().ok();
    let compiler =
        compiler.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let compiler = compiler.split_whitespace().nth(1).unwrap_or("unknown").to_owned();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split(':').nth(1)).map_or("unknown", str::trim).to_owned()
    };
    let name =
        format!("rustc-{compiler}_{}-{}-{}.txt", field("vendor_id"), field("cpu family"), field("model"));
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions").join(name)
}

/// The operation called `name`.
pub(crate) fn operation(name: &str) -> Option<Op> {
    let found = rows::operations().into_iter().find(|(known, _)| *known == name);
    found.map(|(_, op)| op())
}
