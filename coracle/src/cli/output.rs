//! Where commands write: lines for a person, coloured on a terminal, or one JSON object a line.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::error::CliError;

/// Things that hold.
pub(super) const GOOD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
/// Things that do not.
pub(super) const BAD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
/// Things to know of.
pub(super) const NOTE: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
/// Headings.
pub(super) const HEAD: Style = Style::new().bold();

/// Standard output in one of the two forms.
pub(super) struct Output {
    json: bool,
    to: AutoStream<io::StdoutLock<'static>>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json, to: anstream::stdout().lock() }
    }

    /// Whether JSON is wanted.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person watches, on a terminal that can show colours and move its cursor.
    pub(super) fn is_terminal(&self) -> bool {
        use std::io::IsTerminal as _;
        !self.json && io::stdout().is_terminal()
    }

    /// Prints a line for a person, at once.
    pub(super) fn line(&mut self, line: &str) -> Result<(), CliError> {
        writeln!(self.to, "{line}")?;
        Ok(self.to.flush()?)
    }

    /// Prints `object` on a line of its own if JSON is wanted, and calls `lines` otherwise.
    pub(super) fn print(
        &mut self,
        object: &impl Serialize,
        lines: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CliError> {
        if self.json {
            let line = serde_json::to_string(object).map_err(io::Error::other)?;
            writeln!(self.to, "{line}")?;
        } else {
            lines(&mut self.to)?;
        }
        Ok(())
    }

    /// Makes sure that all of it was written.
    pub(super) fn finish(mut self) -> Result<(), CliError> {
        Ok(self.to.flush()?)
    }
}

/// Prints rows under their heading, each column as wide as its widest cell. Cells are cleaned.
pub(super) fn table<const N: usize>(
    to: &mut dyn Write,
    heading: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| clean(cell).chars().count());
        cells.chain(heading.get(column).map(|title| title.chars().count())).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let mut line = String::from(" ");
        for (cell, width) in cells.iter().zip(widths) {
            line.push_str(&format!(" {:<width$} ", clean(cell)));
        }
        line.trim_end().to_owned()
    };
    writeln!(to, "{HEAD}{}{HEAD:#}", line(heading))?;
    rows.iter().try_for_each(|row| writeln!(to, "{}", line(row.each_ref().map(String::as_str))))
}

/// Text from a file or a peer, safe for a terminal: control characters, and those that turn the direction of
/// writing, are spelled out.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let unsafe_char =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(unsafe_char) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if unsafe_char(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(clean("plain ünïcode"), "plain ünïcode");
        assert_eq!(clean("a\u{1b}[31mb\n\u{202e}c"), "a\\u{1b}[31mb\\u{a}\\u{202e}c");
    }
}
