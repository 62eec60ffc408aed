//! From a plan that fails to a smaller one that fails alike.
//!
//! Purpose: every candidate is the plan with one thing taken away; it is kept if it breaks the *same* rule. What is
//! tried, most telling first: fewer operators, incidents, kinds of fault; then shorter times and fewer of the faults
//! themselves (ddmin over their numbers); then no delay. It ends when nothing can be taken away, or after so many
//! runs.

use crate::plan::{Incident, Plan};
use crate::run::{Options, Outcome, run};

/// How a plan was made smaller.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest plan that still fails alike.
    pub plan: Plan,
    /// Its run.
    pub outcome: Outcome,
    /// Runs that were tried.
    pub tried: u32,
    /// Candidates that were kept.
    pub kept: u32,
}

/// Makes a plan smaller, with at most `budget` runs. `None` if it breaks no rule.
///
/// `told` hears of every candidate that was kept.
pub fn shrink(plan: &Plan, budget: u32, mut told: impl FnMut(&Plan, u32)) -> Option<Shrunk> {
    let outcome = run(plan, Options::default());
    let rule = outcome.broken.as_ref()?.rule.clone();
    let mut shrunk = Shrunk { plan: plan.clone(), outcome, tried: 0, kept: 0 };
    loop {
        let before = shrunk.kept;
        for step in [fewer_operators, fewer_incidents, fewer_kinds, simpler_world, shorter, fewer_faults] {
            // Each kind of step until it gives nothing more: the list of candidates starts anew after each success.
            let mut at = 0;
            while shrunk.tried < budget {
                let mut candidates = step(&shrunk.plan, shrunk.outcome.faults);
                if at >= candidates.len() {
                    break;
                }
                let candidate = candidates.swap_remove(at);
                shrunk.tried += 1;
                let outcome = run(&candidate, Options::default());
                if outcome.broken.as_ref().is_some_and(|broken| broken.rule == rule) {
                    shrunk.kept += 1;
                    shrunk.plan = candidate;
                    shrunk.outcome = outcome;
                    told(&shrunk.plan, shrunk.tried);
                } else {
                    at += 1;
                }
            }
        }
        if shrunk.kept == before || shrunk.tried >= budget {
            return Some(shrunk);
        }
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

fn fewer_operators(plan: &Plan, _: u64) -> Vec<Plan> {
    let mut candidates = Vec::new();
    if plan.bootnode {
        candidates.push(Plan { bootnode: false, ..plan.clone() });
    }
    for gone in (0..plan.operators).rev().filter(|_| plan.operators > 1) {
        let incidents = plan.incidents.iter().filter_map(|incident| without(incident, gone)).collect();
        candidates.push(Plan { operators: plan.operators - 1, incidents, ..plan.clone() });
    }
    candidates
}

/// The incident in a world without this operator; those above it move down by one.
fn without(incident: &Incident, gone: u8) -> Option<Incident> {
    use crate::plan::What;
    let lower = |operator: &mut u8| {
        let stays = *operator != gone;
        *operator -= u8::from(*operator > gone);
        stays
    };
    let mut incident = incident.clone();
    let stays = match &mut incident.what {
        What::MoveAll => true,
        What::Move { operator }
        | What::Crash { operator, .. }
        | What::CrashAtWrite { operator, .. }
        | What::LoseDatabase { operator, .. }
        | What::Intrude { operator, .. } => lower(operator),
        What::Cut { from, to, .. } => lower(from) & lower(to),
        What::Partition { operators, .. } => {
            operators.retain_mut(lower);
            !operators.is_empty()
        }
    };
    stays.then_some(incident)
}

fn fewer_incidents(plan: &Plan, _: u64) -> Vec<Plan> {
    let keep = |incidents: Vec<Incident>| Plan { incidents, ..plan.clone() };
    chunks(&plan.incidents).into_iter().map(keep).collect()
}

fn fewer_kinds(plan: &Plan, _: u64) -> Vec<Plan> {
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

fn simpler_world(plan: &Plan, _: u64) -> Vec<Plan> {
    let mut candidates = Vec::new();
    if plan.unseen_moves {
        candidates.push(Plan { unseen_moves: false, ..plan.clone() });
    }
    if plan.calm_ms > 0 {
        candidates.push(Plan { calm_ms: 0, ..plan.clone() });
    }
    candidates
}

fn shorter(plan: &Plan, _: u64) -> Vec<Plan> {
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

fn fewer_faults(plan: &Plan, happened: u64) -> Vec<Plan> {
    let all: Vec<u64> = match &plan.only_faults {
        Some(only) => only.iter().copied().filter(|number| *number < happened).collect(),
        None => (0..happened).collect(),
    };
    if all.is_empty() && plan.only_faults.is_some() {
        return Vec::new();
    }
    let keep = |only| Plan { only_faults: Some(only), ..plan.clone() };
    chunks(&all).into_iter().map(keep).collect()
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
    use crate::plan::What;

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
            for step in [fewer_operators, fewer_incidents, fewer_kinds, simpler_world, shorter, fewer_faults]
            {
                for candidate in step(&plan, 20) {
                    assert_ne!(candidate, plan, "seed {seed}");
                    Plan::from_json(&candidate.to_json()).unwrap();
                }
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
