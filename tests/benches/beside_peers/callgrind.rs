//! Instructions counted under valgrind's callgrind: figures that repeat, whatever else the machine does.

use std::{path::PathBuf, process::Command};

use crate::measure::Op;

/// Runs an operation; callgrind collects inside this function only, so preparations do not count.
#[inline(never)]
pub(crate) fn collected(run: &mut dyn FnMut()) {
    run();
}

/// In the process under valgrind: warms the operation up, and then runs it `runs` times.
pub(crate) fn run(op: &mut Op, runs: u64) {
    op.repeat(1, |run| run());
    op.repeat(runs, collected);
}

/// Runs `what` of this program under callgrind; the instructions that were collected. `None`, and it says
/// why, when that cannot be done.
pub(crate) fn count(what: &[String]) -> Option<u64> {
    let out = output_file(what);
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*callgrind::collected*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().ok()?)
        .args(what)
        .output();
    let output = match valgrind {
        Ok(output) => output,
        Err(error) => {
            println!("valgrind does not run ({error}): no instructions are counted");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stderr);
    // `==123== Collected : 456`
    let collected = text.lines().find_map(|line| line.split("Collected :").nth(1));
    let count = collected.and_then(|count| count.trim().parse().ok()).filter(|_| output.status.success());
    if count.is_none() {
        println!("callgrind of {what:?} failed:\n{text}");
    }
    count
}

/// Where callgrind writes the profile of `what`, for `callgrind_annotate`.
fn output_file(what: &[String]) -> PathBuf {
    let directory = std::env::current_exe().ok().and_then(|path| path.parent().map(PathBuf::from));
    directory.unwrap_or_default().join(format!("callgrind.{}.out", what.join("-")))
}

/// Instructions of one operation out of `runs`.
pub(crate) fn each(name: &str, runs: u64, per_run: u64) -> Option<f64> {
    let what = ["op".to_owned(), name.to_owned(), runs.to_string()];
    Some(count(&what)? as f64 / (runs * per_run) as f64)
}
