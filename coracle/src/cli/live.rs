//! Telling a story as it happens: lines above a live table on a terminal, plain lines in a pipe,
//! one JSON object a line for programs.

use std::{io, time::Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};

use super::{
    error::CliError,
    events::{Told, Weight},
    output::{BAD, GOOD, HEAD, NOTE, Output, clean},
};

/// The story, and the table below it.
pub(super) struct Live<'a> {
    out: &'a mut Output,
    /// Only on a terminal.
    table: Option<(MultiProgress, Vec<ProgressBar>)>,
    started: Instant,
    verbose: bool,
}

impl<'a> Live<'a> {
    /// Begins with a table of `rows` rows, where there is a terminal to show it on.
    pub(super) fn new(out: &'a mut Output, rows: usize, verbose: bool) -> Self {
        let table = out.is_terminal().then(|| {
            let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(10));
            let bars = (0..rows).map(|_| row(&multi)).collect();
            (multi, bars)
        });
        Self { out, table, started: Instant::now(), verbose }
    }

    /// Whether a person watches a live table.
    pub(super) fn is_watched(&self) -> bool {
        self.table.is_some()
    }

    /// Milliseconds since the beginning.
    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One step of the story, by `who` (nobody: the program itself).
    pub(super) fn tell(&mut self, who: Option<&str>, told: Told) -> Result<(), CliError> {
        let Told { weight, line, object } = told;
        if self.out.is_json() {
            let mut with_time = Map::new();
            with_time.insert("at_ms".into(), self.elapsed_ms().into());
            if let Some(who) = who {
                with_time.insert("node".into(), who.into());
            }
            with_time.extend(object);
            return self.out.print(&with_time, |_| Ok(()));
        }
        if weight == Weight::Detail && !self.verbose {
            return Ok(());
        }
        let style = match weight {
            Weight::Good => GOOD,
            Weight::Trouble => NOTE,
            Weight::Step | Weight::Detail => anstyle::Style::new(),
        };
        let seconds = self.started.elapsed().as_secs_f64();
        let who = who.map_or_else(String::new, |who| format!("{HEAD}{who:<11}{HEAD:#} "));
        self.line(&format!("{seconds:>8.3}s  {who}{style}{}{style:#}", clean(&line)))
    }

    /// A line of the program's own, with what a program gets instead.
    pub(super) fn say(&mut self, line: impl Into<String>, object: Value) -> Result<(), CliError> {
        self.step(Weight::Step, line, object)
    }

    /// Good news of the program's own.
    pub(super) fn good(&mut self, line: impl Into<String>, object: Value) -> Result<(), CliError> {
        self.step(Weight::Good, line, object)
    }

    /// Something of the program's own to look at.
    pub(super) fn trouble(&mut self, line: impl Into<String>, object: Value) -> Result<(), CliError> {
        self.step(Weight::Trouble, line, object)
    }

    fn step(&mut self, weight: Weight, line: impl Into<String>, object: Value) -> Result<(), CliError> {
        let Value::Object(object) = object else { return Ok(()) };
        self.tell(None, Told { weight, line: line.into(), object })
    }

    /// Shows the table's rows, where there is a table; it grows and shrinks with them.
    pub(super) fn rows(&mut self, rows: &[String]) {
        if let Some((multi, bars)) = &mut self.table {
            while bars.len() < rows.len() {
                bars.push(row(multi));
            }
            for gone in bars.drain(rows.len()..) {
                multi.remove(&gone);
            }
            for (bar, row) in bars.iter().zip(rows) {
                if bar.message() != *row {
                    bar.set_message(row.clone());
                    bar.tick();
                }
            }
        }
    }

    /// Takes the table away; what follows is printed plainly.
    pub(super) fn end_table(&mut self) {
        if let Some((multi, _)) = self.table.take() {
            // A terminal that is gone shows nothing anyway.
            let _ = multi.clear();
        }
    }

    /// Prints an object for programs, or lines for a person.
    pub(super) fn print(
        &mut self,
        object: &Value,
        lines: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), CliError> {
        self.out.print(object, lines)
    }

    fn line(&mut self, line: &str) -> Result<(), CliError> {
        match &self.table {
            Some((multi, _)) => Ok(multi.println(line)?),
            None => self.out.line(line),
        }
    }
}

fn row(multi: &MultiProgress) -> ProgressBar {
    let bar = multi.add(ProgressBar::new_spinner());
    match ProgressStyle::with_template("{msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A mark and its style for how a member stands.
pub(super) fn mark(connected: bool) -> String {
    if connected { format!("{GOOD}●{GOOD:#}") } else { format!("{BAD}○{BAD:#}") }
}
