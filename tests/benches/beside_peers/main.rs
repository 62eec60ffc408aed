//! What the core costs, beside its peers, in one run. `README.md` beside this file says what is measured and how.
//!
//! ```text
//! cargo bench -p coracle-tests                     the table
//! cargo bench -p coracle-tests -- row TEXT         the rows with this in their title
//! cargo bench -p coracle-tests -- sizes            memory only
//! cargo bench -p coracle-tests -- lookups          a thousand nodes, a lookup each; `native`, or `thorough`
//! cargo bench -p coracle-tests -- instructions     counted, and compared with the baseline; `--write` makes it
//! cargo bench -p coracle-tests -- growth           instructions as a node holds more
//! cargo bench -p coracle-tests -- start-up         to the first packet, and to the full mesh
//! ```

mod backend;
mod callgrind;
mod growth;
mod instructions;
mod lookups;
mod measure;
mod ours;
mod peers;
mod rows;
mod sizes;
mod startup;
mod table;

use std::{process::ExitCode, str::FromStr};

use coracle_core::crypto::RustCrypto;
use coracle_native_crypto::NativeCrypto;

use crate::{
    lookups::Trial,
    measure::measure,
    ours::codec,
    table::{HEAD, Here, Line, Measured},
};

/// Everything on one thread, so that its allocations are counted and its time is all there is.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn main() -> ExitCode {
    // Cargo says `--bench` to every benchmark.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => table(""),
        ["row", part] => table(part),
        ["sizes"] => sizes::run(),
        ["lookups"] => lookups::run::<RustCrypto>(Trial::of_all(true)),
        ["lookups", "native"] => lookups::run::<NativeCrypto>(Trial::of_all(true)),
        ["lookups", "thorough"] => lookups::run::<RustCrypto>(Trial::of_all(false)),
        ["lookups", nodes, seeds, wait] => lookups::run::<RustCrypto>(Trial {
            nodes: parsed(nodes),
            seeds: parsed(seeds),
            wait: parsed(wait),
            quick: true,
        }),
        ["instructions"] => return exit(instructions::run(false)),
        ["instructions", "--write"] => return exit(instructions::run(true)),
        ["growth"] => return exit(growth::run()),
        ["start-up"] => startup::run(),
        // What the commands above start, in processes of their own.
        ["op", name, runs] => {
            callgrind::run(&mut instructions::operation(name).expect("an operation"), parsed(runs))
        }
        ["growth", kind, size, runs] => {
            callgrind::run(&mut growth::operation(kind, parsed(size)).expect("a kind"), parsed(runs));
        }
        ["node", to] => startup::node(parsed(to)),
        ["operators", count] => startup::operators(parsed(count)),
        _ => {
            eprintln!("unknown arguments: {arguments:?}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().ok().unwrap_or_else(|| panic!("{text} is no number"))
}

fn exit(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How often all rows are gone through, each time with everything made anew: what disturbs the machine for seconds, or
/// where memory happens to lie, does not decide a row then.
const PASSES: usize = 3;
/// Rounds of each row in a pass.
const ROUNDS: usize = 2;

/// Measures every row whose title has `part` in it, and prints the table.
fn table(part: &str) {
    let mut here = Here { verify: f64::INFINITY, aes_gcm: f64::INFINITY };
    let mut rows: Vec<Measured> = Vec::new();
    for _ in 0..PASSES {
        let primitives =
            &mut [("verify", codec::verify::<RustCrypto>()), ("aes-gcm", codec::aes_gcm::<RustCrypto>())];
        let primitives = measure("primitives", ROUNDS, primitives);
        here = here.least(Here { verify: primitives[0].ns, aes_gcm: primitives[1].ns });
        let all = rows::all().into_iter().map(|row| row()).filter(|row| row.title.contains(part));
        for (at, measured) in all.map(|row| row.measure(ROUNDS)).enumerate() {
            match rows.get_mut(at) {
                Some(row) => row.merge(&measured),
                None => rows.push(measured),
            }
        }
    }
    let mut lines: Vec<Line> = Vec::new();
    rows.into_iter().for_each(|row| row.append(here, &mut lines));
    println!(
        "\nprimitives here: {:.1} µs a verification (k256), {:.0} ns AES-128-GCM over 100 bytes with a new key\n",
        here.verify / 1e3,
        here.aes_gcm
    );
    let lines: Vec<Vec<String>> = lines.into_iter().map(Vec::from).collect();
    table::print(&HEAD, &lines);
    println!();
    sizes::run();
}
