//! The program `sim`, and what it rests on: the same plan gives the same run in every process and every build.

use std::collections::BTreeMap;
#[cfg(unix)]
use std::io::{BufRead, BufReader, Read};
use std::process::Command;
#[cfg(unix)]
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use coracle_tests::plan::{Plan, What, scenarios};
use coracle_tests::run::{Options, run};
use coracle_tests::{golden, report};

fn sim(args: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Renewed with `sim golden --write`; see [`golden`].
#[test]
fn runs_have_the_committed_hashes() {
    let wrong = golden::check(include_str!("../golden/hashes.txt"));
    assert!(wrong.is_empty(), "{}\nrenew with: sim golden --write", wrong.join("\n"));
}

#[test]
fn two_processes_and_this_one_give_the_same_hash() {
    let names = ["seed:3", "moves:2"];
    let here = golden::line("seed:3", &Plan::drawn(3))
        + "\n"
        + &golden::line("moves:2", &(scenarios::find("moves").unwrap().plan)(2))
        + "\n";
    for _ in 0..2 {
        let (ok, out, err) = sim(&[&["hash"], &names[..]].concat());
        assert!(ok, "{err}");
        assert_eq!(out, here);
    }
}

#[test]
fn every_scenario_goes_well() {
    // The larger ones are for campaigns.
    for scenario in scenarios::ALL.iter().filter(|scenario| (scenario.plan)(0).operators <= 4) {
        let outcome = run(&(scenario.plan)(0), Options::default());
        assert!(outcome.broken.is_none(), "{}:0: {}", scenario.name, outcome.broken.unwrap());
    }
}

/// The scenarios show what they are about, and not merely that nothing breaks.
#[test]
fn scenarios_show_what_they_are_about() {
    let seen = |name: &str, seed: u64| {
        let outcome = run(&(scenarios::find(name).unwrap().plan)(seed), Options::default());
        assert!(outcome.broken.is_none(), "{name}:{seed}: {}", outcome.broken.unwrap());
        (outcome.seen, outcome.counters)
    };
    // One signs the very record again that it had lost; two say something else, and each goes above its old number once.
    let (lost, _) = seen("lost-database-1970", 1);
    assert_eq!((lost.databases_lost, lost.own_adopted, lost.own_exceeded), (3, 0, 2));
    // What says the same as before under an older number is given up for what the others remember (rule E5).
    let (number, _) = seen("lost-number", 1);
    assert_eq!((number.databases_lost, number.own_adopted, number.own_exceeded), (1, 1, 0));
    let (liars, _) = seen("liars", 1);
    assert!(liars.lies.iter().all(|told| *told > 0), "{liars:?}");
    assert!(liars.conflicts > 0, "nobody noticed two contents under one number");
    let (twins, _) = seen("twins", 1);
    assert!(twins.own_exceeded >= 1, "nobody said that another process has its key");
    assert_eq!(seen("membership", 1).0.removals, 2);
    let (_, nat) = seen("nat-full", 1);
    assert!(nat.nat_full > 0 && nat.nat_expired > 0, "{nat:?}");
}

/// Drawn plans bring every kind of fault that the simulator and the observers count. Few seeds that do, together;
/// `sim campaign --operators 4 --seeds 0..200 --json` says of each seed what it saw, if others are needed.
#[test]
fn every_kind_of_fault_is_drawn() {
    let mut counts = BTreeMap::<&str, u64>::new();
    for seed in [10, 21, 41, 97, 113, 143, 162] {
        let outcome = run(&Plan::drawn_for("operators-4", seed, 4), Options::default());
        assert!(outcome.broken.is_none(), "operators-4:{seed}: {}", outcome.broken.unwrap());
        for (fault, count) in outcome.counters.faults().chain(outcome.seen.faults()) {
            *counts.entry(fault).or_default() += count;
        }
    }
    let never: Vec<_> = counts.iter().filter(|(_, count)| **count == 0).collect();
    assert!(never.is_empty(), "never seen: {never:?}");
}

/// Plans on which a fault, planted or not, once showed: small, and for ever right.
#[test]
fn committed_traces_go_well() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/traces");
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 2);
    for file in files {
        let plan = Plan::from_json(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let outcome = run(&plan, Options::default());
        assert!(outcome.broken.is_none(), "{}: {}", file.display(), outcome.broken.unwrap());
    }
}

/// The story of a run changes nothing in it, and becomes a page, a diagram, and lines.
#[test]
fn a_story_is_told_in_three_forms() {
    let plan = (scenarios::find("moves").unwrap().plan)(1);
    let outcome = run(&plan, Options { story: true });
    assert_eq!(outcome.hash, run(&plan, Options::default()).hash, "listening changed the run");
    let story = outcome.story.unwrap();
    let page = report::html(&story);
    assert!(page.contains("operator 3") && !page.contains("__STORY__"));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page asks for {outside}");
    }
    let diagram = report::mermaid(&story);
    assert!(diagram.starts_with("sequenceDiagram\n"));
    assert!(diagram.contains("WHOAREYOU 63 B"), "{diagram}");
    assert!(diagram.lines().any(|line| line.contains("operator 2 moves")));
    let lines = report::json_lines(&story);
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert_eq!(lines.lines().count(), story.moments.len() + 1);
}

/// Nobody tells two that moved at once where they are.
fn failing() -> Plan {
    let mut plan = Plan::drawn_for("test", 1, 2);
    plan.bootnode = false;
    plan.incidents.clear();
    plan.faults.loss = 100_000;
    plan = plan.with(3_000, What::Cut { from: 0, to: 1, for_ms: 500 }).with(20_000, What::MoveAll);
    plan.heal_ms = 21_000;
    plan.deadline_ms = 30_000;
    plan
}

/// A plan that must fail is told with the line that replays it, becomes a trace, shrinks, and fails alike from there.
#[test]
fn a_failure_is_told_replayed_and_shrunk() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let plan = failing();
    std::fs::write(file("large.json"), plan.to_json()).unwrap();

    let (ok, out, _) = sim(&["replay", &file("large.json"), "--trace", &file("again.json")]);
    assert!(!ok && out.contains("C2 is broken"), "{out}");
    let replays: Vec<_> = out.lines().filter(|line| line.starts_with("replay: ")).collect();
    assert_eq!(replays.len(), 1, "{out}");
    assert_eq!(std::fs::read_to_string(file("again.json")).unwrap(), plan.to_json());

    let (ok, out, err) = sim(&["shrink", &file("large.json"), "-o", &file("small.json"), "--budget", "60"]);
    assert!(ok, "{err}");
    let small = Plan::from_json(&std::fs::read_to_string(file("small.json")).unwrap()).unwrap();
    assert_eq!(small.incidents.len(), 1, "{out}");
    let (ok, out, _) = sim(&["replay", &file("small.json")]);
    assert!(!ok && out.contains("C2 is broken"), "{out}");
}

#[test]
fn a_campaign_counts_what_it_saw_and_shards_make_the_whole() {
    let seeds = |shard: &str| {
        let (ok, out, err) =
            sim(&["campaign", "--scenario", "quiet", "--seeds", "0..5", "--shard", shard, "--json"]);
        assert!(ok, "{err}");
        assert!(out.contains("0 of "), "{out}");
        let runs = out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        runs.map(|run| run["run"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut all = [seeds("0/2"), seeds("1/2")].concat();
    all.sort();
    assert_eq!(all, ["quiet:0", "quiet:1", "quiet:2", "quiet:3", "quiet:4"]);
}

/// The program, running, with the lines that it has to say.
#[cfg(unix)]
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
}

#[cfg(unix)]
impl Running {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, out: BufReader::new(out), err: BufReader::new(err) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// Sends a signal, and waits until the program says that it has understood.
    fn interrupt(&mut self, signal: &str) {
        self.signal(signal);
        let mut line = String::new();
        self.err.read_line(&mut line).unwrap();
        assert!(line.starts_with("interrupted"), "{line}");
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Its exit code, and what it printed until then.
    fn end(mut self) -> (Option<i32>, String) {
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        (self.child.wait().unwrap().code(), out)
    }
}

#[cfg(unix)]
#[test]
fn a_campaign_that_is_interrupted_tells_what_it_has() {
    for signal in ["INT", "TERM"] {
        let campaign =
            ["campaign", "--scenario", "quiet", "--seeds", "0..1000000", "--threads", "2", "--json"];
        let mut sim = Running::start(&campaign);
        let first = sim.line();
        sim.interrupt(signal);
        let (code, out) = sim.end();
        assert_eq!(code, Some(130), "{out}");
        let out = first + &out;
        let runs = out.lines().filter(|line| line.starts_with('{')).count();
        for sum in [
            format!("\n{runs} runs in "),
            format!("\n0 of {runs} runs broke a rule\n"),
            format!("\ninterrupted: {runs} of 1000000 seeds were run\n"),
        ] {
            assert!(runs > 0 && out.contains(&sum), "{out}");
        }
    }
}

/// A run of forty operators would take its time.
#[cfg(unix)]
#[test]
fn a_second_interrupt_is_not_argued_with() {
    let mut sim = Running::start(&["shrink", "operators-40:1", "-o", "/dev/null"]);
    assert!(sim.line().starts_with("before: "));
    sim.interrupt("INT");
    sim.signal("INT");
    assert_eq!(sim.end(), (Some(130), String::new()));
}

#[cfg(unix)]
#[test]
fn a_shrinking_that_is_interrupted_tells_the_smallest_so_far() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("large.json"), failing().to_json()).unwrap();
    let mut sim = Running::start(&["shrink", &file("large.json"), "-o", &file("small.json")]);
    assert!(sim.line().starts_with("before: "));
    sim.interrupt("INT");
    let (code, out) = sim.end();
    assert_eq!(code, Some(130), "{out}");
    assert!(out.contains("after: ") && out.contains("\nC2: "), "{out}");
    let small = Plan::from_json(&std::fs::read_to_string(file("small.json")).unwrap()).unwrap();
    assert!(run(&small, Options::default()).broken.is_some());
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    for (args, word) in [
        (&["replay", "no-such-file"][..], "no-such-file"),
        (&["scenario", "nothing"], "sim scenarios"),
        (&["campaign", "--seeds", "5..5"], "no seed"),
        (&["campaign", "--shard", "2/2"], "below"),
        (&["replay", "{}"], "missing field"),
    ] {
        let (ok, _, err) = sim(args);
        assert!(!ok && err.contains(word), "{args:?}: {err}");
    }
}
