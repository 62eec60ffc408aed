//! The checks on the validators of a lock: their keys, and all that was signed with them.
//!
//! Where everything holds there is one check of each sort for the whole file; what does not hold is named one by
//! one, [`MAX_FAILURES_LISTED`] of each sort at most.

use super::{
    limits::BLS_SIGNATURE,
    model::Lock,
    report::{Check, CheckKind, Outcome},
};

#[cfg(feature = "bls")]
mod checked;

/// All checks on the validators of `lock`.
pub(super) fn checks(lock: &Lock) -> Vec<Check> {
    let version = lock.definition.version;
    let checked = Checked::new(lock);
    let check = |kind, field: &str| {
        if lock.validators.is_empty() {
            return vec![whole(kind, field, Outcome::not_checked("the lock holds no validators"))];
        }
        checked.check(kind, field)
    };
    let mut out = check(CheckKind::KeyShares, "public_shares");
    out.push(Check {
        check: CheckKind::AggregateSignature,
        field: "signature_aggregate".to_owned(),
        outcome: aggregate(lock).unwrap_or_else(|| checked.aggregate()),
    });
    if version.has_single_deposit() {
        out.extend(check(CheckKind::Deposits, "deposit_data"));
    }
    if version.has_partial_deposits() {
        out.extend(check(CheckKind::Deposits, "partial_deposit_data"));
    }
    if version.has_node_signatures() {
        out.extend(check(CheckKind::Registrations, "builder_registration"));
    }
    out
}

/// What can be said of the aggregate signature by its length.
fn aggregate(lock: &Lock) -> Option<Outcome> {
    let signature = &lock.signature_aggregate;
    match signature.len() {
        BLS_SIGNATURE if lock.validators.is_empty() => Some(Outcome::failed(
            "none: the lock holds no validators, so that no key share could sign",
            "one",
        )),
        BLS_SIGNATURE => None,
        0 if lock.validators.is_empty() => {
            Some(Outcome::not_checked("the lock holds no validators, so that no key share could sign"))
        }
        0 if lock.definition.version.may_lack_aggregate() => {
            Some(Outcome::not_checked("it is empty, as in the earliest files"))
        }
        0 => Some(Outcome::failed(
            format!("a BLS signature of {BLS_SIGNATURE} bytes by all key shares"),
            "none",
        )),
        length => Some(Outcome::failed(
            format!("a BLS signature of {BLS_SIGNATURE} bytes"),
            format!("{}: {length} bytes", super::signatures::hex_text(signature)),
        )),
    }
}

/// A check on the same field of all validators.
fn whole(check: CheckKind, field: &str, outcome: Outcome) -> Check {
    Check { check, field: format!("distributed_validators[].{field}"), outcome }
}

#[cfg(feature = "bls")]
use checked::Checked;

/// Without BLS nothing can be said.
#[cfg(not(feature = "bls"))]
struct Checked;

#[cfg(not(feature = "bls"))]
impl Checked {
    const NOT_BUILT: &str = "this build is without BLS (the feature `bls` of the crate)";

    fn new(_: &Lock) -> Self {
        Self
    }

    fn check(&self, kind: CheckKind, field: &str) -> Vec<Check> {
        vec![whole(kind, field, Outcome::not_checked(Self::NOT_BUILT))]
    }

    fn aggregate(&self) -> Outcome {
        Outcome::not_checked(Self::NOT_BUILT)
    }
}
