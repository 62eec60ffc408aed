//! Results in words.

use coracle_sim::{Failure, MILLISECOND, SECOND};
use coracle_tests::run::Outcome;

/// The one line that has the run again.
pub(crate) fn replay(name: &str) -> String {
    let quoted = if name.contains([' ', '{', '"']) { format!("'{name}'") } else { name.to_owned() };
    format!("cargo run -p coracle-tests --release --bin sim -- replay {quoted}")
}

/// The complaint, without the rule's name before it.
pub(crate) fn words(broken: &Failure) -> &str {
    let named = broken.message.strip_prefix(&broken.invariant).and_then(|rest| rest.strip_prefix(": "));
    named.unwrap_or(&broken.message)
}

/// A run in a line or two.
pub(crate) fn result(name: &str, outcome: &Outcome) -> String {
    let (steps, time) = (outcome.steps, outcome.time / SECOND);
    let hash = outcome.hash.map_or_else(|| "none".into(), |hash| hash.to_string());
    let hash = &hash[..hash.len().min(16)];
    match (&outcome.broken, outcome.healed_in) {
        (Some(broken), _) => {
            let (seconds, millis) = (broken.at / SECOND, broken.at % SECOND / MILLISECOND);
            let rule = &broken.invariant;
            let words = words(broken);
            format!("{name}: {rule} is broken at {seconds}.{millis:03} s: {words} (hash {hash})")
        }
        (None, healed) => {
            let healed = healed.unwrap_or(0) / MILLISECOND;
            format!(
                "{name}: right; mesh {healed} ms after the healing, {steps} events in {time} s (hash {hash})"
            )
        }
    }
}
