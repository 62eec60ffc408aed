//! The demo's end: who moved, what became of the records, and how everyone was found.

use std::{fmt::Write as _, io, time::Duration};

use coracle_core::{id::PeerId, record::Record};
use serde_json::{Value, json};

use super::{CliError, Live, MOVERS, OPERATORS, operator::Operator};
use crate::cli::{
    events::micros,
    live::mark,
    output::{GOOD, HEAD, NOTE},
};

/// What is compared at the end.
pub(super) struct Report {
    rows: Vec<Row>,
}

/// One operator, before and after.
struct Row {
    name: String,
    peer: PeerId,
    before: (String, u64),
    after: Option<(String, u64)>,
    /// How each operator was found and its round-trip time in microseconds, by index.
    channels: Vec<Option<(&'static str, Option<u64>)>>,
}

fn place(record: &Record) -> (String, u64) {
    let tcp =
        record.tcp_endpoints().next().map_or_else(|| "nowhere".to_owned(), |endpoint| endpoint.to_string());
    (tcp, record.seq())
}

impl Report {
    /// Remembers how things are before anybody moves.
    pub(super) fn new(operators: &[Operator]) -> Self {
        let row = |operator: &Operator| {
            let published = operator.last.as_ref().and_then(|snapshot| snapshot.record.as_ref());
            Row {
                name: operator.name.clone(),
                peer: operator.peer_id(),
                before: place(published.unwrap_or(&operator.first_record)),
                after: None,
                channels: vec![None; OPERATORS],
            }
        };
        Self { rows: operators.iter().map(row).collect() }
    }

    /// Looks once more, at how things are now.
    pub(super) async fn finish(&mut self, operators: &mut [Operator]) {
        let peers: Vec<PeerId> = self.rows.iter().map(|row| row.peer).collect();
        for (row, operator) in self.rows.iter_mut().zip(operators) {
            operator.look().await;
            row.after = operator.last.as_ref().and_then(|snapshot| snapshot.record.as_ref()).map(place);
            for (to, peer) in peers.iter().enumerate() {
                row.channels[to] = operator
                    .channel_to(*peer)
                    .map(|channel| (channel.origin.name(), channel.rtt.map(micros)));
            }
        }
    }

    fn complete(&self) -> usize {
        let measured = |channel: &&Option<(&str, Option<u64>)>| matches!(channel, Some((_, Some(_))));
        self.rows.iter().map(|row| row.channels.iter().filter(measured).count()).sum()
    }

    /// The table, and the last word.
    pub(super) fn print(&self, live: &mut Live<'_>, healed: Option<Duration>) -> Result<(), CliError> {
        for (from, row) in self.rows.iter().enumerate() {
            live.print(&row.object(from), |_| Ok(()))?;
        }
        let channels = self.complete();
        let full = healed.is_some() && channels == OPERATORS * (OPERATORS - 1);
        let summary = json!({
            "event": "summary",
            "operators": OPERATORS,
            "channels": channels,
            "moved": MOVERS.len(),
            "mesh": if full { "full" } else { "partial" },
            "heal_ms": healed.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        });
        live.print(&summary, |to| self.table(to, healed.filter(|_| full)))
    }

    fn table(&self, to: &mut dyn io::Write, healed: Option<Duration>) -> io::Result<()> {
        writeln!(to, "\n{HEAD}{:<11} {:<37} seq{HEAD:#}", "who", "where")?;
        for row in &self.rows {
            writeln!(to, "{:<11} {:<37} {}", row.name, row.places(), row.numbers())?;
        }
        write!(to, "\n{HEAD}{:<11}", "found by")?;
        for row in &self.rows {
            write!(to, " {:<17}", row.name)?;
        }
        writeln!(to, "{HEAD:#}")?;
        for (from, row) in self.rows.iter().enumerate() {
            write!(to, "{:<11}", row.name)?;
            for (index, channel) in row.channels.iter().enumerate() {
                let cell = match channel {
                    _ if index == from => "—".to_owned(),
                    Some((found, Some(rtt))) => format!("{found} {}.{:02} ms", rtt / 1000, rtt % 1000 / 10),
                    Some((found, None)) => format!("{found}, no ping"),
                    None => "no channel".to_owned(),
                };
                write!(to, " {cell:<17}")?;
            }
            writeln!(to)?;
        }
        writeln!(to)?;
        match healed {
            Some(took) => writeln!(
                to,
                "{GOOD}the mesh is full again: {} channels, {} ms after {} operators had gone{GOOD:#}",
                self.complete(),
                took.as_millis(),
                MOVERS.len()
            ),
            None => writeln!(
                to,
                "{NOTE}the mesh is not full: {} of {} channels{NOTE:#}",
                self.complete(),
                OPERATORS * (OPERATORS - 1)
            ),
        }
    }
}

impl Row {
    fn places(&self) -> String {
        let (before, after) = (&self.before.0, self.after.as_ref().map(|after| &after.0));
        match after {
            Some(after) if after == before => before.clone(),
            Some(after) => format!("{before} → {after}"),
            None => format!("{before} → stopped"),
        }
    }

    fn numbers(&self) -> String {
        match &self.after {
            Some((_, after)) if *after == self.before.1 => after.to_string(),
            Some((_, after)) => format!("{} → {after}", self.before.1),
            None => self.before.1.to_string(),
        }
    }

    fn object(&self, from: usize) -> Value {
        let channels: Vec<Value> = self
            .channels
            .iter()
            .enumerate()
            .filter_map(|(to, channel)| {
                let (found, rtt) = (*channel)?;
                Some(json!({"to": format!("operator {}", to + 1), "found": found, "rtt_us": rtt}))
            })
            .collect();
        json!({
            "event": "operator",
            "operator": self.name,
            "peer": self.peer.to_string(),
            "moved": MOVERS.contains(&from),
            "before": {"tcp": self.before.0, "seq": self.before.1},
            "after": self.after.as_ref().map(|(tcp, seq)| json!({"tcp": tcp, "seq": seq})),
            "channels": channels,
        })
    }
}

/// An operator in the live table: where it is, and a mark for each channel.
pub(super) fn live_row(operator: &Operator) -> String {
    let mut row = format!("{HEAD}{:<11}{HEAD:#} ", operator.name);
    // Writing to a string cannot fail.
    let _ = match &operator.last {
        None => write!(row, "{:<20} stopped", ""),
        Some(snapshot) => {
            let seq =
                snapshot.record.as_ref().map_or_else(|| "–".to_owned(), |record| record.seq().to_string());
            write!(row, "{:<20} seq {seq:<14}", operator.listening().0)
        }
    };
    for member in operator.last.iter().flat_map(|snapshot| &snapshot.members) {
        let rtt = member.channel.and_then(|channel| channel.rtt).map(micros);
        let rtt =
            rtt.map_or_else(|| "       ".to_owned(), |us| format!("{:>4}.{} ms", us / 1000, us % 1000 / 100));
        let _ = write!(row, "  {} {}{rtt}", mark(member.channel.is_some()), member.position + 1);
    }
    row
}
