//! Errors as a person reads them: what happened, what to do, and an exit code.

use std::{io, path::Path, process::ExitCode};

use anstyle::{AnsiColor, Style};
use coracle::{
    data_dir::DataDirError, database::DatabaseError, files::ReadError, host::HostError,
    key_file::KeyFileError,
};
use coracle_tokio::BindError;

use super::output::clean;

/// An error at the surface of the program.
#[derive(Debug)]
pub(super) struct CliError {
    message: String,
    help: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    InUse,
    /// Whoever read our output is gone, as in `coracle lock show | head`: nothing to say, and no failure.
    ReaderGone,
}

impl CliError {
    /// It did not work.
    pub(super) fn failed(message: impl ToString, help: impl ToString) -> Self {
        Self { message: message.to_string(), help: help.to_string(), kind: Kind::Failed }
    }

    /// The command line is wrong, in a way that no single argument shows.
    pub(super) fn usage(message: impl ToString, help: impl ToString) -> Self {
        Self { kind: Kind::Usage, ..Self::failed(message, help) }
    }

    /// Another process has what this one needs.
    pub(super) fn in_use(message: impl ToString, help: impl ToString) -> Self {
        Self { kind: Kind::InUse, ..Self::failed(message, help) }
    }

    /// Both parts in one line, for who goes on all the same.
    pub(super) fn line(&self) -> String {
        format!("{} ({})", self.message, self.help)
    }

    /// Prints the error and gives its exit code.
    pub(super) fn report(self) -> ExitCode {
        let code = match self.kind {
            Kind::ReaderGone => return ExitCode::SUCCESS,
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::InUse => 3,
        };
        let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let cyan = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
        // Nothing can be done about a standard error that is closed.
        let mut to = anstream::stderr().lock();
        let _ = io::Write::write_fmt(
            &mut to,
            format_args!(
                "{red}error{red:#}: {}\n{cyan}help{cyan:#}: {}\n",
                clean(&self.message),
                clean(&self.help)
            ),
        );
        ExitCode::from(code)
    }
}

impl From<io::Error> for CliError {
    /// An error of writing to standard output.
    fn from(error: io::Error) -> Self {
        let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::ReaderGone } else { Kind::Failed };
        let message = format!("cannot write to standard output: {error}");
        Self { kind, ..Self::failed(message, "check where the output goes to") }
    }
}

impl From<KeyFileError> for CliError {
    fn from(error: KeyFileError) -> Self {
        Self::failed(&error, error.help())
    }
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        Self::failed(&error, error.help())
    }
}

impl From<DataDirError> for CliError {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::KeyInUse { .. } => Self::in_use(&error, error.help()),
            _ => Self::failed(&error, error.help()),
        }
    }
}

impl CliError {
    /// Why a node cannot be configured from the cluster file at `path`.
    pub(super) fn host(path: &Path, error: HostError) -> Self {
        match error {
            HostError::Database(error) => error.into(),
            HostError::File(_) | HostError::NotAnOperator { .. } => {
                Self::failed(format!("{}: {error}", path.display()), error.help())
            }
            _ => Self::failed(&error, error.help()),
        }
    }
}

impl From<BindError> for CliError {
    fn from(error: BindError) -> Self {
        match error.source.kind() {
            io::ErrorKind::AddrInUse => {
                Self::in_use(&error, "stop the program that listens there, or choose another port")
            }
            io::ErrorKind::AddrNotAvailable => {
                Self::failed(&error, "this machine has no such address: use 0.0.0.0 or [::] for all it has")
            }
            _ => Self::failed(&error, "choose another address or port"),
        }
    }
}

impl From<DatabaseError> for CliError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::InUse(_) => Self::in_use(&error, error.help()),
            _ => Self::failed(&error, error.help()),
        }
    }
}
