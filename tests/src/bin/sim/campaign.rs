//! Many seeds on all cores.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coracle_sim::{Counters, MILLISECOND, Nanos, SECOND};
use coracle_tests::plan::{Plan, scenarios};
use coracle_tests::run::{Options, Outcome, Seen, run as carry_out};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::Campaign;
use crate::commands::{Answer, Ended, OPERATORS, trace_path, write};
use crate::interrupt::Interrupt;
use crate::show;

/// Rule C2: within this time at the 99th percentile.
const HEALED_P99: Nanos = 30 * SECOND;
/// Fewer runs have no 99th percentile.
const LEAST_FOR_P99: usize = 100;

/// What came of all runs so far.
#[derive(Default)]
struct Sum {
    runs: u64,
    steps: u64,
    time: Nanos,
    healed: Vec<Nanos>,
    counters: Counters,
    /// For every fault, in how many runs it was seen.
    seen_in: BTreeMap<&'static str, u64>,
    seen: Seen,
    failures: u64,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.steps += outcome.steps;
        self.time += outcome.time;
        self.healed.extend(outcome.healed_in);
        self.counters.add(&outcome.counters);
        for (fault, count) in outcome.counters.faults().chain(outcome.seen.faults()) {
            *self.seen_in.entry(fault).or_default() += u64::from(count > 0);
        }
        self.seen.add(&outcome.seen);
        self.failures += u64::from(outcome.broken.is_some());
    }

    /// Kinds of fault that no run has seen.
    fn never(&self) -> Vec<&'static str> {
        let counts = self.counters.faults().chain(self.seen.faults());
        counts.filter(|(_, count)| *count == 0).map(|(fault, _)| fault).collect()
    }

    fn percentile(&self, percent: usize) -> Nanos {
        let mut healed = self.healed.clone();
        healed.sort_unstable();
        let at = (healed.len() * percent).div_ceil(100).saturating_sub(1);
        healed.get(at).copied().unwrap_or(0)
    }

    fn print(&self, took: Duration, drawn: bool) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let tenth = |tenths: u64| format!("{}.{}", tenths / 10, tenths % 10);
        println!(
            "{} runs in {} s: {} runs/s, {} virtual hours ({} times real time), {} events ({} events/s)",
            self.runs,
            tenth(millis / 100),
            tenth(self.runs * 10_000 / millis),
            tenth(self.time / SECOND / 360),
            self.time / SECOND * 1_000 / millis,
            self.steps,
            self.steps * 1_000 / millis,
        );
        println!(
            "seen: {} packets, {} channels, {} records published, {} (key, nonce) pairs, none used twice; \
             at most {} bytes a minute to an endpoint that never answered",
            self.seen.packets, self.seen.channels, self.seen.records, self.seen.nonces, self.seen.unverified,
        );
        println!("faults seen (times, and in how many of {} runs):", self.runs);
        let counts = self.counters.faults().chain(self.seen.faults());
        for (fault, count) in counts.filter(|(_, count)| *count > 0) {
            println!("  {fault:<24} {count:>10} {:>8}", self.seen_in.get(fault).copied().unwrap_or(0));
        }
        // A scenario is about few of them.
        match self.never().as_slice() {
            [] => println!("every kind of fault was seen"),
            never if drawn => println!("never seen: {}", never.join(", ")),
            _ => {}
        }
        let at = |percent| self.percentile(percent) / MILLISECOND;
        println!(
            "from healing to mesh: median {} ms, 90 % {} ms, 99 % {} ms, most {} ms",
            at(50),
            at(90),
            at(99),
            at(100)
        );
    }
}

pub(crate) fn run(args: &Campaign) -> Answer {
    let (name, plan) = family(args)?;
    let all = args.seeds.end - args.seeds.start;
    let mine = all.saturating_sub(args.shard.0).div_ceil(args.shard.1);
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from);
    let began = Instant::now();
    let interrupt = Interrupt::watch()?;
    let (turn, stop, sum) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Sum::default()));
    let bar = progress(mine);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && !interrupt.is_asked() {
                    let turn = turn.fetch_add(1, Ordering::Relaxed);
                    let late = args.stop_after.is_some_and(|most| began.elapsed().as_secs() >= most);
                    if turn >= mine || late {
                        break;
                    }
                    let seed = args.seeds.start + args.shard.0 + turn * args.shard.1;
                    let plan = plan(seed);
                    let outcome = carry_out(&plan, Options::default());
                    let name = format!("{name}:{seed}");
                    bar.suspend(|| tell(args, &name, &plan, &outcome));
                    stop.fetch_or(outcome.broken.is_some() && !args.keep_going, Ordering::Relaxed);
                    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    sum.add(&outcome);
                    let hours = sum.time / SECOND / 3_600;
                    bar.set_message(format!("{hours} virtual hours, {} failures", sum.failures));
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.print(began.elapsed(), args.scenario.is_none());
    let slow = sum.healed.len() >= LEAST_FOR_P99 && sum.percentile(99) > HEALED_P99;
    if slow {
        println!("C2 is broken: the 99th percentile is above {} s", HEALED_P99 / SECOND);
    }
    println!("{} of {} runs broke a rule", sum.failures, sum.runs);
    let right = sum.failures == 0 && !slow;
    if interrupt.is_asked() {
        println!("interrupted: {} of {mine} seeds were run", sum.runs);
        return Ok(if right { Ended::Interrupted } else { Ended::Broken });
    }
    let covered = !args.all_faults || sum.never().is_empty();
    if !covered {
        println!("a kind of fault was never seen: more seeds, or the draws are to be changed");
    }
    Ok((right && covered).into())
}

/// A name, and the plan of each seed.
type Family = (String, Box<dyn Fn(u64) -> Plan + Sync>);

fn family(args: &Campaign) -> Result<Family, String> {
    if let Some(operators) = args.operators {
        let name = format!("{OPERATORS}{operators}");
        return Ok((name.clone(), Box::new(move |seed| Plan::drawn_for(&name, seed, operators))));
    }
    let Some(name) = &args.scenario else { return Ok(("seed".into(), Box::new(Plan::drawn))) };
    let scenario = scenarios::find(name);
    let scenario = scenario.ok_or_else(|| format!("no scenario is called {name:?}: see `sim scenarios`"))?;
    Ok((scenario.name.into(), Box::new(scenario.plan)))
}

/// A bar, on a terminal only.
fn progress(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = "{elapsed} {bar:30} {pos}/{len} runs, {per_sec}, {msg}, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

/// A failure: what it is, the line that replays it, and the trace file. With `--json` every run.
fn tell(args: &Campaign, name: &str, plan: &Plan, outcome: &Outcome) {
    if args.json {
        let broken = outcome.broken.as_ref().map(|broken| (&broken.invariant, &broken.message));
        let faults = outcome.counters.faults().chain(outcome.seen.faults());
        let faults: BTreeMap<_, _> = faults.filter(|(_, count)| *count > 0).collect();
        let line = serde_json::json!({
            "run": name,
            "hash": outcome.hash.map(|hash| hash.to_string()),
            "events": outcome.steps,
            "virtual_ms": outcome.time / MILLISECOND,
            "healed_ms": outcome.healed_in.map(|took| took / MILLISECOND),
            "faults": faults,
            "broken": broken,
        });
        println!("{line}");
    }
    if outcome.broken.is_some() {
        let path = trace_path(&args.traces, name);
        eprintln!("{}", show::result(name, outcome));
        eprintln!("replay: {}", show::replay(name));
        if let Err(error) = write(Path::new(&path), &plan.to_json()) {
            eprintln!("the trace could not be written: {error}");
        } else {
            eprintln!("trace:  {}", path.display());
        }
    }
}
