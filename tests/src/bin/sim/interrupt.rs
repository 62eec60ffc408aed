//! Ctrl-C: the first asks for an end that loses nothing, the second ends at once.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of whoever was interrupted, as shells have it for Ctrl-C.
pub(crate) const EXIT_CODE: u8 = 130;

/// Whether somebody wants the program to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on Ctrl-C (and SIGTERM, and SIGHUP, where there are such things) asks first. Once in a process.
    pub(crate) fn watch() -> Result<Self, ctrlc::Error> {
        let asked = Arc::new(AtomicBool::new(false));
        let interrupt = Self(Arc::clone(&asked));
        ctrlc::set_handler(move || {
            if asked.swap(true, Ordering::Relaxed) {
                exit(EXIT_CODE.into());
            }
            eprintln!("interrupted: what is under way ends first; Ctrl-C once more ends it at once");
        })?;
        Ok(interrupt)
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
