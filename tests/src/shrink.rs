//! From a plan that fails to a smaller one that fails alike.
//!
//! Purpose: what is simpler than a [`Plan`], for the simulator's [`Shrinker`], which keeps a candidate only if it
//! breaks the *same* rule. Most telling first: fewer operators, incidents, kinds of fault; then a simpler world and
//! shorter times; and once nothing of that can be taken away, fewer of the faults themselves, by their numbers.

use std::ops::ControlFlow;

use coracle_sim::{Failure, Plan as Simpler, Shrinker};

use crate::plan::{Incident, Plan, What};
use crate::run::{Options, run};

/// How a plan was made smaller.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest plan that still fails alike.
    pub plan: Plan,
    /// How it fails.
    pub broken: Failure,
    /// Runs that were tried.
    pub tried: u64,
    /// Candidates that were kept.
    pub kept: u64,
}

/// Makes a plan smaller, with at most `budget` runs. `None` if it breaks no rule.
///
/// `told` hears of every run: how many there were, and how many candidates were kept; a break ends the shrinking with
/// what it has. `kept` gets each of these at once, so that a shrinking that is killed has been of use.
pub fn shrink(
    plan: &Plan,
    budget: u64,
    mut told: impl FnMut(u64, u64) -> ControlFlow<()>,
    kept: impl Fn(&Plan),
) -> Option<Shrunk> {
    let first = run(plan, Options::default()).broken?;
    let rule = first.invariant.clone();
    let failure = |plan: &Plan| match run(plan, Options::default()).broken {
        Some(broken) => {
            if broken.invariant == rule {
                kept(plan);
            }
            Err(broken)
        }
        None => Ok(()),
    };
    let mut shrinker = Shrinker::new(budget).on_progress(|progress| told(progress.runs, progress.accepted));
    let coarse = shrinker.plan(plan.clone(), first, failure);
    if shrinker.is_stopped() {
        let (tried, kept) = (coarse.runs, coarse.accepted);
        return Some(Shrunk { plan: coarse.smallest, broken: coarse.failure, tried, kept });
    }
    // Now the faults that are left get numbers.
    let mut numbered = coarse.smallest;
    if numbered.only_faults.is_none() {
        let happened = run(&numbered, Options::default()).faults;
        numbered.only_faults = Some((0..happened).collect());
    }
    let fine = shrinker.plan(numbered, coarse.failure, failure);
    Some(Shrunk {
        broken: fine.failure,
        plan: fine.smallest,
        tried: coarse.runs + fine.runs,
        kept: coarse.accepted + fine.accepted,
    })
}

impl Simpler for Plan {
    fn simpler(&self) -> Vec<Self> {
        let steps = [fewer_operators, fewer_incidents, fewer_kinds, simpler_world, shorter, fewer_faults];
        let candidates = steps.into_iter().flat_map(|step| step(self));
        // A plan that cuts operators off for good fails as well, and says nothing.
        candidates.filter(|plan| plan.leaves_a_way() || !self.leaves_a_way()).collect()
    }
}

/// How large a plan is, for people: operators, incidents, kinds of fault, seconds until the healing.
#[must_use]
pub fn size(plan: &Plan) -> String {
    let mut faults = plan.faults;
    let kinds = faults.each().iter().filter(|(_, rate)| !rate.is_off()).count();
    let only = plan
        .only_faults
        .as_ref()
        .map_or_else(|| "all faults".into(), |only| format!("{} faults", only.len()));
    format!(
        "{} operators, {} incidents, {kinds} kinds of fault ({only}), healed at {} ms",
        plan.operators,
        plan.incidents.len(),
        plan.heal_ms
    )
}

fn fewer_operators(plan: &Plan) -> Vec<Plan> {
    let mut candidates = Vec::new();
    if plan.bootnode {
        candidates.push(Plan { bootnode: false, ..plan.clone() });
    }
    for gone in (0..plan.operators).rev().filter(|_| plan.operators > 1) {
        let incidents = plan.incidents.iter().filter_map(|incident| without(incident, gone)).collect();
        let mut nats = plan.nats.clone();
        nats.retain_mut(|nat| lower(&mut nat.operator, gone));
        let mut clocks = plan.clocks.clone();
        clocks.retain_mut(|clock| lower(&mut clock.operator, gone));
        let mut liars = plan.liars.clone();
        liars.retain_mut(|liar| liar.operator.as_mut().is_none_or(|operator| lower(operator, gone)));
        candidates.push(Plan {
            operators: plan.operators - 1,
            incidents,
            nats,
            clocks,
            liars,
            ..plan.clone()
        });
    }
    candidates
}

/// The operator's number without this one; whether it is another.
const fn lower(operator: &mut u8, gone: u8) -> bool {
    let stays = *operator != gone;
    if *operator > gone {
        *operator -= 1;
    }
    stays
}

/// The incident in a world without this operator; those above it move down by one.
fn without(incident: &Incident, gone: u8) -> Option<Incident> {
    let lower = |operator: &mut u8| lower(operator, gone);
    let mut incident = incident.clone();
    let stays = match &mut incident.what {
        What::MoveAll => true,
        What::Move { operator }
        | What::Crash { operator, .. }
        | What::CrashAtWrite { operator, .. }
        | What::LoseDatabase { operator, .. }
        | What::RebootNat { operator }
        | What::JumpClock { operator, .. }
        | What::Twin { operator, .. }
        | What::Remove { operator, .. }
        | What::Intrude { operator, .. } => lower(operator),
        What::Cut { from, to, .. } => lower(from) & lower(to),
        What::Partition { operators, .. } => {
            operators.retain_mut(lower);
            !operators.is_empty()
        }
    };
    stays.then_some(incident)
}

fn fewer_incidents(plan: &Plan) -> Vec<Plan> {
    let keep = |incidents: Vec<Incident>| Plan { incidents, ..plan.clone() };
    chunks(&plan.incidents).into_iter().map(keep).collect()
}

fn fewer_kinds(plan: &Plan) -> Vec<Plan> {
    let count = plan.faults.clone().each().len();
    let off = |number: usize| {
        let mut candidate = plan.clone();
        let mut rates = candidate.faults.each();
        if rates[number].1.is_off() {
            return None;
        }
        rates[number].1.switch_off();
        // The faults that are left have other numbers.
        candidate.only_faults = None;
        Some(candidate)
    };
    (0..count).filter_map(off).collect()
}

fn simpler_world(plan: &Plan) -> Vec<Plan> {
    let mut candidates = Vec::new();
    for number in 0..plan.liars.len() {
        let mut candidate = plan.clone();
        candidate.liars.remove(number);
        candidates.push(candidate);
        for lie in 0..plan.liars[number].lies.len() {
            let mut candidate = plan.clone();
            candidate.liars[number].lies.remove(lie);
            candidates.push(candidate);
        }
    }
    if plan.unseen_moves {
        candidates.push(Plan { unseen_moves: false, ..plan.clone() });
    }
    for number in 0..plan.nats.len() {
        let mut candidate = plan.clone();
        candidate.nats.remove(number);
        candidates.push(candidate);
    }
    if !plan.clocks.is_empty() {
        candidates.push(Plan { clocks: Vec::new(), ..plan.clone() });
    }
    if plan.calm_ms > 0 {
        candidates.push(Plan { calm_ms: 0, ..plan.clone() });
    }
    candidates
}

fn shorter(plan: &Plan) -> Vec<Plan> {
    let mut candidates = Vec::new();
    for heal_ms in [plan.heal_ms / 2, plan.heal_ms * 9 / 10] {
        // What would begin after the healing goes; what would end after it ends with it.
        let mut candidate = Plan { heal_ms, ..plan.clone() };
        candidate.incidents.retain(|incident| incident.at_ms < heal_ms);
        candidate.faults.until_ms = candidate.faults.until_ms.min(heal_ms);
        candidate.faults.from_ms = candidate.faults.from_ms.min(heal_ms);
        if heal_ms < plan.heal_ms {
            candidates.push(candidate);
        }
    }
    for (number, incident) in plan.incidents.iter().enumerate() {
        for length in [1, incident.what.lasts() / 2] {
            let mut candidate = plan.clone();
            candidate.incidents[number].what.set_length(length);
            if length > 0 && candidate.incidents[number].what.lasts() < incident.what.lasts() {
                candidates.push(candidate);
            }
        }
        let before = number.checked_sub(1).map_or(0, |before| plan.incidents[before].at_ms);
        let earlier = before + (incident.at_ms - before) / 2;
        if earlier + 10 < incident.at_ms {
            let mut candidate = plan.clone();
            candidate.incidents[number].at_ms = earlier;
            candidates.push(candidate);
        }
    }
    candidates
}

fn fewer_faults(plan: &Plan) -> Vec<Plan> {
    let keep = |only| Plan { only_faults: Some(only), ..plan.clone() };
    plan.only_faults.iter().flat_map(|only| chunks(only)).map(keep).collect()
}

/// The list without all of it, without each half, each quarter, … and each single entry (ddmin).
fn chunks<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    let mut candidates = Vec::new();
    let mut size = list.len();
    while size > 0 {
        for start in (0..list.len()).step_by(size) {
            let end = (start + size).min(list.len());
            candidates.push([&list[..start], &list[end..]].concat());
        }
        // Single entries only where there are few: the halves have done most of it.
        size = if size > 1 && size <= 3 && list.len() > 64 { 0 } else { size / 2 };
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn without_an_operator_the_others_keep_their_incidents() {
        let plan = Plan::quiet("test", 1, 4)
            .with(1, What::Move { operator: 1 })
            .with(2, What::Move { operator: 3 })
            .with(3, What::Partition { operators: vec![0, 1, 3], for_ms: 5 })
            .with(4, What::Cut { from: 1, to: 2, for_ms: 5 });
        let incidents: Vec<_> = plan.incidents.iter().filter_map(|i| without(i, 1)).map(|i| i.what).collect();
        let partition = What::Partition { operators: vec![0, 2], for_ms: 5 };
        assert_eq!(incidents, [What::Move { operator: 2 }, partition]);
    }

    #[test]
    fn every_candidate_can_be_carried_out_and_is_another_plan() {
        for seed in 0..30 {
            let plan = Plan::drawn(seed);
            for candidate in plan.simpler() {
                assert_ne!(candidate, plan, "seed {seed}");
                Plan::from_json(&candidate.to_json()).unwrap();
            }
        }
    }

    #[test]
    fn chunks_go_from_all_to_single_entries() {
        let candidates = chunks(&[1, 2, 3]);
        assert_eq!(candidates[0], Vec::<i32>::new());
        assert!(candidates.contains(&vec![1, 3]));
        assert_eq!(chunks::<u8>(&[]), Vec::<Vec<u8>>::new());
    }
}
