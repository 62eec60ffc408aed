//! `differences`: who was added, removed and changed.

use coracle::cluster_file::{Change, ClusterFile, Content, Lock, Subject, Version, differences};

use crate::generator;

fn difference(change: impl Fn(&mut Lock)) -> Vec<(Change, Subject, Option<String>)> {
    let before = generator::lock(Version::NEWEST, 60);
    let mut after = before.clone();
    change(&mut after);
    let file = |lock| ClusterFile::from(Content::Lock(lock));
    let forward = differences(&file(before.clone()), &file(after.clone()));
    let back = differences(&file(after), &file(before));
    assert_eq!(forward.len(), back.len());
    forward.into_iter().map(|each| (each.change, each.subject, each.part)).collect()
}

#[test]
fn nothing_differs_from_itself() {
    assert_eq!(difference(|_| ()), []);
    for version in Version::all() {
        for (name, text) in generator::files(version) {
            let file = ClusterFile::parse(text.as_bytes()).unwrap();
            assert_eq!(differences(&file, &file), [], "{name}");
        }
    }
}

#[test]
fn operators_are_known_by_their_keys() {
    let part = |text: &str| Some(text.to_owned());
    let other = generator::definition(Version::NEWEST, 61).operators[0].clone();
    assert_eq!(
        difference(|lock| lock.definition.operators[1].enr = other.enr.clone()),
        [(Change::Removed, Subject::Operator, None), (Change::Added, Subject::Operator, None)]
    );
    assert_eq!(
        difference(|lock| lock.definition.operators.swap(0, 2)),
        std::array::from_fn::<_, 2, _>(|_| (Change::Changed, Subject::Operator, part("position")))
    );
    assert_eq!(
        difference(|lock| lock.definition.operators[1].address.clear()),
        [(Change::Changed, Subject::Operator, part("address"))]
    );
    assert_eq!(
        difference(|lock| drop(lock.validators.remove(1))),
        [(Change::Removed, Subject::Validator, None)]
    );
    assert_eq!(
        difference(|lock| lock.validators[0].registration.gas_limit += 1),
        [(Change::Changed, Subject::Validator, part("builder_registration"))]
    );
    assert_eq!(difference(|lock| lock.definition.threshold += 1), [(Change::Changed, Subject::Field, None)]);
}

#[test]
fn every_changed_field_differs() {
    use crate::changes::{Place, changed, walk};
    for (name, text) in Version::all().flat_map(generator::files) {
        let original: serde_json::Value = serde_json::from_str(&text).unwrap();
        let before = ClusterFile::parse(text.as_bytes()).unwrap();
        walk(&original, Place::default(), &mut |place, value| {
            for other in changed(value) {
                let mut tree = original.clone();
                *tree.pointer_mut(&place.pointer).unwrap() = other;
                if let Ok(after) = ClusterFile::parse(tree.to_string().as_bytes()) {
                    assert_ne!(differences(&before, &after), [], "{name}: {}", place.path);
                }
            }
        });
    }
}
