//! Which values of a file could be changed without any check of this build noticing.
//!
//! The hashes of every version cover every field that the version has: configuration and definition hash are
//! compared with their own fields, the lock hash covers definition and validators, and what the hashes once left
//! out (the nonce, a validator's own fee recipient) must be empty to be read at all. The timestamp of v1.0 is
//! in the configuration hash only, which is enough. So what remains is what stands beside the hashes: node
//! signatures, which are checked, the aggregate signature, which is checked by builds with BLS, and fields that
//! the version does not have.

use super::{CheckKind, ClusterFile, Report};

/// A value that no hash and no checked signature covers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Uncovered {
    /// The path of the field; what is inside it is not covered either.
    pub field: String,
    /// Why nothing covers it.
    pub because: String,
}

/// Everything in the file that is not covered.
pub(super) fn uncovered(file: &ClusterFile, report: &Report) -> Vec<Uncovered> {
    let mut out = Vec::new();
    if file.lock().is_some() && !report.verified(CheckKind::AggregateSignature) {
        let because = "no hash includes it: it signs the lock hash, and was not verified".to_owned();
        out.push(Uncovered { field: "signature_aggregate".to_owned(), because });
    }
    let version = file.version();
    for field in &file.unknown.paths {
        let because = format!("{version} has no such field, and it is ignored");
        out.push(Uncovered { field: field.clone(), because });
    }
    if file.unknown.more > 0 {
        let because = format!("{version} has no such fields, and they are ignored");
        out.push(Uncovered { field: format!("{} more unknown fields", file.unknown.more), because });
    }
    out
}
