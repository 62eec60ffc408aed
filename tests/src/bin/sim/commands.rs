//! The commands that carry out one plan, or a few.

use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use coracle_tests::golden;
use coracle_tests::plan::{MAX_OPERATORS, Plan, scenarios};
use coracle_tests::run::{Options, Outcome};
use coracle_tests::{report, run as carry_out, shrink as smaller};

use indicatif::{ProgressBar, ProgressStyle};

use crate::args;
use crate::interrupt::Interrupt;
use crate::show;

/// What stands before the number of operators in names such as `operators-7:123`.
pub(crate) const OPERATORS: &str = "operators-";

/// How a command ended that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// No rule was broken.
    Right,
    /// One was.
    Broken,
    /// Somebody did not want to wait for the rest; what there was broke no rule.
    Interrupted,
}

impl From<bool> for Ended {
    fn from(right: bool) -> Self {
        if right { Self::Right } else { Self::Broken }
    }
}

pub(crate) type Answer = Result<Ended, Box<dyn Error>>;

pub(crate) fn run(args: &args::Run) -> Answer {
    one(&Plan::drawn(args.seed), &format!("seed:{}", args.seed), &args.output)
}

pub(crate) fn replay(args: &args::Replay) -> Answer {
    one(&named(&args.what)?, &args.what, &args.output)
}

pub(crate) fn scenario(args: &args::Scenario) -> Answer {
    let Some(scenario) = scenarios::find(&args.name) else {
        return Err(format!("no scenario is called {:?}: see `sim scenarios`", args.name).into());
    };
    let name = |seed| format!("{}:{seed}", scenario.name);
    if let Some(seed) = args.seed {
        return one(&(scenario.plan)(seed), &name(seed), &args.output);
    }
    let mut all = true;
    for seed in 0..scenario.seeds {
        // The story of the first stands for all.
        let output = if seed == 0 { &args.output } else { &args::Output::default() };
        all &= one(&(scenario.plan)(seed), &name(seed), output)? == Ended::Right;
    }
    Ok(all.into())
}

pub(crate) fn scenarios() -> Answer {
    for scenario in &scenarios::ALL {
        println!("{:<22} {} ({} seeds)", scenario.name, scenario.about, scenario.seeds);
    }
    Ok(Ended::Right)
}

pub(crate) fn shrink(args: &args::Shrink) -> Answer {
    let plan = match args.what.parse() {
        Ok(seed) => Plan::drawn(seed),
        Err(_) => named(&args.what)?,
    };
    let interrupt = Interrupt::watch()?;
    println!("before: {}", smaller::size(&plan));
    let bar = ProgressBar::no_length().with_message("runs");
    let told = |runs, kept| {
        bar.set_message(format!("{runs} runs, {kept} smaller plans that fail alike"));
        if interrupt.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    // Whoever kills it has the smallest so far.
    let kept = |plan: &Plan| {
        let _ = write(&args.output, &plan.to_json());
    };
    let shrunk = smaller::shrink(&plan, args.budget, told, kept);
    bar.finish_and_clear();
    let Some(shrunk) = shrunk else {
        return Err(format!("{} breaks no rule: there is nothing to shrink", args.what).into());
    };
    write(&args.output, &shrunk.plan.to_json())?;
    println!("after:  {} ({} runs, {} kept)", smaller::size(&shrunk.plan), shrunk.tried, shrunk.kept);
    println!("{}: {}", shrunk.broken.invariant, show::words(&shrunk.broken));
    println!("replay: {}", show::replay(&args.output.display().to_string()));
    Ok(if interrupt.is_asked() { Ended::Interrupted } else { Ended::Right })
}

pub(crate) fn hash(args: &args::Hash) -> Answer {
    for what in &args.what {
        let plan = match what.parse() {
            Ok(seed) => Plan::drawn(seed),
            Err(_) => named(what)?,
        };
        println!("{}", golden::line(what, &plan));
    }
    Ok(Ended::Right)
}

pub(crate) fn golden(args: &args::Golden) -> Answer {
    if args.write {
        write(&args.file, &golden::file())?;
        println!("{} has {} hashes", args.file.display(), golden::plans().len());
        return Ok(Ended::Right);
    }
    let text = fs::read_to_string(&args.file).map_err(|error| format!("{}: {error}", args.file.display()))?;
    let wrong = golden::check(&text);
    for line in &wrong {
        println!("{line}");
    }
    if wrong.is_empty() {
        println!("{} hashes are as in {}", golden::plans().len(), args.file.display());
    }
    Ok(wrong.is_empty().into())
}

fn one(plan: &Plan, name: &str, output: &args::Output) -> Answer {
    let options = Options { story: output.report.is_some() || output.mermaid || output.json };
    let mut outcome = carry_out::run(plan, options);
    if let Some(story) = &mut outcome.story {
        story.replay = show::replay(name);
        if let Some(path) = &output.report {
            write(path, &report::html(story))?;
        }
        if output.mermaid {
            print!("{}", report::mermaid(story));
        }
        if output.json {
            print!("{}", report::json_lines(story));
        }
    }
    if let Some(path) = &output.trace {
        write(path, &plan.to_json())?;
    }
    tell(name, &outcome, output.json || output.mermaid);
    if outcome.broken.is_some() && output.trace.is_none() && !Path::new(name).exists() {
        let path = trace_path(Path::new("target/sim"), name);
        write(&path, &plan.to_json())?;
        eprintln!("trace:  {}", path.display());
    }
    Ok(outcome.broken.is_none().into())
}

/// The result, and for a failure the line that replays it. On standard error, where the output is for tools.
fn tell(name: &str, outcome: &Outcome, quiet: bool) {
    if let Some(broken) = &outcome.broken {
        for line in &broken.trace {
            eprintln!("{line}");
        }
    }
    let mut lines = show::result(name, outcome);
    if outcome.broken.is_some() {
        lines += &format!("\nreplay: {}", show::replay(name));
    }
    if quiet { eprintln!("{lines}") } else { println!("{lines}") }
}

/// The plan that a name stands for: a file, `seed:7`, `moves:7`, or JSON.
pub(crate) fn named(what: &str) -> Result<Plan, Box<dyn Error>> {
    if what.trim_start().starts_with('{') {
        return Ok(Plan::from_json(what)?);
    }
    if let Some((name, seed)) = what.rsplit_once(':')
        && let Ok(seed) = seed.parse()
    {
        if name == "seed" {
            return Ok(Plan::drawn(seed));
        }
        if let Some(scenario) = scenarios::find(name) {
            return Ok((scenario.plan)(seed));
        }
        let operators = name.strip_prefix(OPERATORS).and_then(|number| number.parse().ok());
        if let Some(operators @ 1..=MAX_OPERATORS) = operators {
            return Ok(Plan::drawn_for(name, seed, operators));
        }
    }
    let text = fs::read_to_string(what).map_err(|error| {
        format!(
            "{what}: {error} (and it is neither seed:7 nor SCENARIO:7 nor operators-4:7 nor a plan's JSON)"
        )
    })?;
    Plan::from_json(&text).map_err(|error| format!("{what}: {error}").into())
}

/// Where the trace of a failure goes.
pub(crate) fn trace_path(directory: &Path, name: &str) -> std::path::PathBuf {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let short: String = name.chars().map(safe).take(60).collect();
    directory.join(format!("{short}.json"))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(named)?;
    }
    fs::write(path, text).map_err(|error| named(error).into())
}
