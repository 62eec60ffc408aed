//! The checks on validators that need BLS.

use std::collections::BTreeMap;

use crate::bls::{self, PublicKey, Shared, Signed};

use super::{
    super::{
        fields::address_bytes,
        limits::MAX_FAILURES_LISTED,
        model::{Deposit, DistributedValidator, Lock, Registration, ValidatorAddresses},
        roots, signatures,
    },
    Check, CheckKind, Outcome, whole,
};

/// A lock with its validators' keys read.
pub(super) struct Checked<'l> {
    lock: &'l Lock,
    keys: Vec<Option<PublicKey>>,
    shares: Vec<Vec<Option<PublicKey>>>,
}

/// What was found of one sort.
struct Found<'f> {
    kind: CheckKind,
    field: &'f str,
    failures: Vec<Check>,
    /// How many more failed than are listed.
    more: usize,
    /// Whether there was anything to check.
    any: bool,
}

impl Found<'_> {
    /// `suffix` names the place inside the field.
    fn fail(&mut self, validator: usize, suffix: &str, outcome: Outcome) {
        self.fail_at(format!("distributed_validators[{validator}].{}{suffix}", self.field), outcome);
    }

    fn fail_at(&mut self, field: String, outcome: Outcome) {
        if self.failures.len() >= MAX_FAILURES_LISTED {
            self.more += 1;
            return;
        }
        self.failures.push(Check { check: self.kind, field, outcome });
    }

    fn finish(mut self, none: &str) -> Vec<Check> {
        if self.more > 0 {
            let outcome = Outcome::failed("valid ones", format!("{} more that are not", self.more));
            self.failures.push(whole(self.kind, self.field, outcome));
        }
        if !self.failures.is_empty() {
            return self.failures;
        }
        let outcome = if self.any { Outcome::Verified } else { Outcome::not_checked(none) };
        vec![whole(self.kind, self.field, outcome)]
    }
}

impl<'l> Checked<'l> {
    pub(super) fn new(lock: &'l Lock) -> Self {
        let keys: Vec<&[u8]> =
            lock.validators.iter().map(|validator| validator.public_key.as_slice()).collect();
        let shares: Vec<&[u8]> = lock
            .validators
            .iter()
            .flat_map(|validator| &validator.public_shares)
            .map(Vec::as_slice)
            .collect();
        let mut read = bls::read_keys(&shares).into_iter();
        let of =
            |validator: &DistributedValidator| read.by_ref().take(validator.public_shares.len()).collect();
        Self { lock, keys: bls::read_keys(&keys), shares: lock.validators.iter().map(of).collect() }
    }

    pub(super) fn check(&self, kind: CheckKind, field: &str) -> Vec<Check> {
        let found = Found { kind, field, failures: Vec::new(), more: 0, any: false };
        match kind {
            CheckKind::KeyShares => self.key_shares(found),
            CheckKind::Deposits => self.deposits(found),
            _ => self.registrations(found),
        }
    }

    /// The signature of all key shares over the lock hash.
    pub(super) fn aggregate(&self) -> Outcome {
        let signature = &self.lock.signature_aggregate;
        let keys: Option<Vec<PublicKey>> = self.shares.iter().flatten().copied().collect();
        let Some(keys) = keys else {
            return Outcome::failed("public shares that are keys, to check it with", "some that are none");
        };
        if bls::aggregate_verifies(&keys, &self.lock.lock_hash, signature) {
            return Outcome::Verified;
        }
        Outcome::failed(
            "the aggregate of the signatures of all key shares over the lock hash",
            format!("{}: it is not", signatures::hex_text(signature)),
        )
    }

    /// Keys are keys, each once, and the shares make up the key at the threshold.
    fn key_shares(&self, mut found: Found<'_>) -> Vec<Check> {
        let threshold = usize::try_from(self.lock.definition.threshold).unwrap_or(usize::MAX);
        let operators = self.lock.definition.operators.len();
        let mut seen: BTreeMap<[u8; 48], usize> = BTreeMap::new();
        let mut whole: Vec<(usize, Shared)> = Vec::new();
        for (index, (key, shares)) in self.keys.iter().zip(&self.shares).enumerate() {
            found.any = true;
            let Some(key) = *key else {
                found.fail_at(own_key(index), Outcome::failed("a public key", "a point that is no key"));
                continue;
            };
            if let Some(first) = seen.insert(key.to_bytes(), index) {
                let expected = "a key of its own for each validator";
                found
                    .fail_at(own_key(index), Outcome::failed(expected, format!("that of validator {first}")));
            }
            if let Some(at) = shares.iter().position(Option::is_none) {
                found.fail(
                    index,
                    &format!("[{at}]"),
                    Outcome::failed("a public key", "a point that is no key"),
                );
                continue;
            }
            let shares: Vec<PublicKey> = shares.iter().flatten().copied().collect();
            if let Some((first, second)) = twice(&shares) {
                let expected = "a share of its own for each operator";
                let outcome = Outcome::failed(expected, format!("that of operator {first}"));
                found.fail(index, &format!("[{second}]"), outcome);
            } else if shares.len() != operators {
                // Which place is whose cannot be told then.
                let expected = format!("{operators} shares, one for each operator");
                found.fail(index, "", Outcome::failed(expected, shares.len()));
            } else if threshold == 0 || threshold > operators {
                let expected = format!("a threshold from 1 to {operators}, the number of shares");
                found.fail(index, "", Outcome::failed(expected, threshold));
            } else {
                whole.push((index, Shared { key, shares }));
            }
        }
        self.polynomials(&mut found, &whole, threshold);
        found.finish("")
    }

    fn polynomials(&self, found: &mut Found<'_>, all: &[(usize, Shared)], threshold: usize) {
        let shared: Vec<Shared> = all.iter().map(|(_, shared)| shared.clone()).collect();
        let mut from = 0;
        // The costly search for the next one ends when no more would be listed.
        while found.failures.len() < MAX_FAILURES_LISTED {
            let rest = shared.get(from..).unwrap_or_default();
            let Some(next) = bls::first_off_polynomial(rest, threshold) else { return };
            from += next + 1;
            let Some((index, shared)) = all.get(from - 1) else { return };
            let expected = format!(
                "shares of which any {threshold} make up the key 0x{}",
                hex::encode(shared.key.to_bytes())
            );
            let (suffix, made) = deviation(shared, threshold);
            found.fail(*index, &suffix, Outcome::failed(expected, made));
        }
    }

    /// Deposits are for the validator, to the withdrawal address of the definition, and signed.
    fn deposits(&self, mut found: Found<'_>) -> Vec<Check> {
        let definition = &self.lock.definition;
        let single = definition.version.has_single_deposit();
        let none = Deposit::default();
        let mut signed = Vec::new();
        for (index, validator) in self.lock.validators.iter().enumerate() {
            for (at, deposit) in
                validator.deposits.iter().enumerate().filter(|(_, deposit)| **deposit != none)
            {
                found.any = true;
                let suffix = if single { String::new() } else { format!("[{at}]") };
                let withdrawal = &addresses(self.lock, index).withdrawal;
                if let Err(outcome) = names_key(&deposit.public_key, validator) {
                    found.fail(index, &format!("{suffix}.pubkey"), outcome);
                } else if let Err(outcome) = credentials_fit(deposit, withdrawal, definition.compounding) {
                    found.fail(index, &format!("{suffix}.withdrawal_credentials"), outcome);
                } else {
                    let message = roots::deposit(deposit, definition.fork_version);
                    signed.push((index, format!("{suffix}.signature"), message, &deposit.signature));
                }
            }
        }
        self.signatures(&mut found, signed);
        found.finish("the lock holds no deposits")
    }

    /// Registrations are of the validator, with the fee recipient of the definition, and signed.
    fn registrations(&self, mut found: Found<'_>) -> Vec<Check> {
        let mut signed = Vec::new();
        for (index, validator) in self.lock.validators.iter().enumerate() {
            found.any = true;
            let registration = &validator.registration;
            let fee_recipient = &addresses(self.lock, index).fee_recipient;
            if lacks_parts(registration) {
                found.fail(index, "", Outcome::failed("a signed registration", "none, or a part of one"));
            } else if let Err(outcome) = names_key(&registration.public_key, validator) {
                found.fail(index, ".message.pubkey", outcome);
            } else if address_bytes(fee_recipient)
                .is_some_and(|address| address != registration.fee_recipient)
            {
                let expected = format!("the fee recipient of the definition, {fee_recipient}");
                let outcome = Outcome::failed(expected, signatures::hex_text(&registration.fee_recipient));
                found.fail(index, ".message.fee_recipient", outcome);
            } else {
                let message = roots::registration(registration, self.lock.definition.fork_version);
                signed.push((index, ".signature".to_owned(), message, &registration.signature));
            }
        }
        self.signatures(&mut found, signed);
        found.finish("")
    }

    /// Checks signatures by validators' keys, all at once.
    fn signatures(&self, found: &mut Found<'_>, all: Vec<(usize, String, [u8; 32], &Vec<u8>)>) {
        let mut places = Vec::new();
        let mut signed = Vec::new();
        for (index, suffix, message, signature) in all {
            match self.keys.get(index).copied().flatten() {
                Some(key) => {
                    signed.push(Signed { key, message, signature: signature.clone() });
                    places.push((index, suffix));
                }
                None => {
                    let outcome = Outcome::failed("a validator whose key is one, to check it with", "none");
                    found.fail(index, &suffix, outcome);
                }
            }
        }
        for failure in bls::failing(&signed, MAX_FAILURES_LISTED) {
            let (Some((index, suffix)), Some(signed)) = (places.get(failure), signed.get(failure)) else {
                continue;
            };
            let key = hex::encode(signed.key.to_bytes());
            let expected = format!("a signature by 0x{key} of 0x{}", hex::encode(signed.message));
            let outcome =
                Outcome::failed(expected, format!("{}: it is not", signatures::hex_text(&signed.signature)));
            found.fail(*index, suffix, outcome);
        }
    }
}

fn own_key(index: usize) -> String {
    format!("distributed_validators[{index}].distributed_public_key")
}

/// The addresses of a validator.
fn addresses(lock: &Lock, index: usize) -> &ValidatorAddresses {
    let definition = &lock.definition;
    definition.validator_addresses.get(index).unwrap_or(&definition.common_addresses)
}

fn names_key(named: &[u8], validator: &DistributedValidator) -> Result<(), Outcome> {
    if named == validator.public_key {
        return Ok(());
    }
    let expected = format!("the validator's key {}", signatures::hex_text(&validator.public_key));
    Err(Outcome::failed(expected, signatures::hex_text(named)))
}

/// An address as credentials has the prefix 1, or 2 where rewards compound (EIP-7251).
fn credentials_fit(deposit: &Deposit, withdrawal: &str, compounding: bool) -> Result<(), Outcome> {
    let Some(address) = address_bytes(withdrawal).filter(|address| !address.is_empty()) else {
        return Ok(());
    };
    let mut expected = vec![if compounding { 2 } else { 1 }];
    expected.resize(12, 0);
    expected.extend(address);
    if deposit.withdrawal_credentials == expected {
        return Ok(());
    }
    let expected =
        format!("those of the definition's withdrawal address, {}", signatures::hex_text(&expected));
    Err(Outcome::failed(expected, signatures::hex_text(&deposit.withdrawal_credentials)))
}

fn lacks_parts(registration: &Registration) -> bool {
    registration.signature.is_empty()
        || registration.fee_recipient.is_empty()
        || registration.public_key.is_empty()
}

fn twice(keys: &[PublicKey]) -> Option<(usize, usize)> {
    let mut seen = BTreeMap::new();
    let mut keys = keys.iter().enumerate();
    keys.find_map(|(index, key)| seen.insert(key.to_bytes(), index).map(|first| (first, index)))
}

/// Where shares deviate: from which on, given that the ones before make up the key, or all of them.
fn deviation(shared: &Shared, threshold: usize) -> (String, String) {
    let indexed: Vec<(usize, PublicKey)> = shared.shares.iter().copied().enumerate().collect();
    let made = |shares: &[(usize, PublicKey)]| {
        bls::recover(shares)
            .map_or_else(|| "no key".to_owned(), |key| format!("0x{}", hex::encode(key.to_bytes())))
    };
    let first = indexed.get(..threshold).unwrap_or_default();
    if bls::recover(first) != Some(shared.key) {
        return (String::new(), format!("the first {threshold} make up {}", made(first)));
    }
    for (at, share) in indexed.iter().enumerate().skip(threshold) {
        let with: Vec<_> = indexed.iter().take(threshold - 1).chain([share]).copied().collect();
        if bls::recover(&with) != Some(shared.key) {
            return (
                format!("[{at}]"),
                format!("with the first {}, this one makes up {}", threshold - 1, made(&with)),
            );
        }
    }
    (String::new(), "they do not".to_owned())
}
