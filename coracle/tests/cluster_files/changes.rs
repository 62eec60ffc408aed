//! Every value of every fixture, changed one at a time: refused, unless the report says that nothing covers it.
//!
//! The changes are made by walking the JSON, so that a field added to a version is tried without being listed.

use coracle::cluster_file::{ClusterFile, Report, Version};
use serde_json::{Value, json};

use crate::generator;

/// A place in a JSON tree: keys and indexes, and how reports write it.
#[derive(Clone, Default)]
struct Place {
    pointer: String,
    path: String,
}

impl Place {
    fn key(&self, key: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { pointer: format!("{}/{key}", self.pointer), path: format!("{}{dot}{key}", self.path) }
    }

    fn index(&self, index: usize) -> Self {
        Self { pointer: format!("{}/{index}", self.pointer), path: format!("{}[{index}]", self.path) }
    }
}

/// Every value in the tree, with its place.
fn walk<'v>(value: &'v Value, at: Place, visit: &mut impl FnMut(&Place, &'v Value)) {
    visit(&at, value);
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| walk(value, at.key(key), visit)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| walk(value, at.index(i), visit)),
        _ => {}
    }
}

/// Other values that might stand in place of a leaf.
fn changed(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) if text.is_empty() => {
            let filled = [20, 32, 48, 65, 96].map(|length| json!(format!("0x{}", "5a".repeat(length))));
            let mut out = filled.to_vec();
            out.push(json!("changed"));
            out
        }
        Value::String(text) => {
            // Replaces one character by another of the same alphabet, at the start of the value, in its middle
            // and at its end.
            let start = if text.starts_with("0x") { 2 } else { 0 };
            let end = text.trim_end_matches('=').len();
            let replace = |at: usize| {
                let other = match &text[at..=at] {
                    "0" => "1",
                    "A" => "B",
                    character if character.chars().all(|c| c.is_ascii_digit()) => "0",
                    _ => "A",
                };
                let mut out = text.clone();
                out.replace_range(at..=at, other);
                json!(out)
            };
            // A hexadecimal `a` becomes `A`, which is the same value.
            let same = |value: &Value| value.as_str().unwrap().eq_ignore_ascii_case(text) && start == 2;
            [start, (start + end) / 2, end - 1]
                .map(replace)
                .into_iter()
                .filter(|value| !same(value))
                .collect()
        }
        Value::Number(number) => vec![json!(number.as_u64().unwrap() + 1), json!(-1), json!(1.5)],
        Value::Bool(value) => vec![json!(!value)],
        Value::Null => vec![json!("changed")],
        Value::Array(_) | Value::Object(_) => Vec::new(),
    }
}

fn report(value: &Value) -> Option<Report> {
    ClusterFile::parse(value.to_string().as_bytes()).ok().map(|file| file.verify())
}

fn accepted(value: &Value) -> bool {
    report(value).is_some_and(|report| !report.refused())
}

fn covered(report: &Report, path: &str) -> bool {
    let inside = |field: &str| {
        path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    !report.uncovered.iter().any(|entry| inside(&entry.field))
}

fn fixtures() -> Vec<(String, Value)> {
    let parse = |(name, text): (String, String)| (name, serde_json::from_str(&text).unwrap());
    Version::all().flat_map(generator::files).map(parse).collect()
}

#[test]
fn a_changed_value_is_refused_unless_listed_as_uncovered() {
    for (name, original) in fixtures() {
        let original_report = report(&original).unwrap();
        let (mut refused, mut passed) = (0, 0);
        walk(&original, Place::default(), &mut |place, value| {
            for other in changed(value) {
                let mut tree = original.clone();
                *tree.pointer_mut(&place.pointer).unwrap() = other.clone();
                let expected = !covered(&original_report, &place.path);
                assert_eq!(accepted(&tree), expected, "{name}: {} = {value} changed to {other}", place.path);
                if expected { passed += 1 } else { refused += 1 }
            }
        });
        assert!(refused > 50, "{name}: only {refused} changes were tried");
        assert_eq!(passed > 0, name.starts_with("lock"), "{name}: only a lock has an aggregate signature");
    }
}

#[test]
fn a_failed_hash_is_named_with_both_values() {
    let text = generator::files(Version::NEWEST)[1].1.replace("\"threshold\": 2", "\"threshold\": 3");
    let report = ClusterFile::parse(text.as_bytes()).unwrap().verify();
    let failed: Vec<_> = report.failed().map(|check| check.field.as_str()).collect();
    assert_eq!(
        failed,
        ["cluster_definition.config_hash", "cluster_definition.definition_hash", "lock_hash"],
        "what was changed fits, the hashes do not"
    );
    for check in report.failed() {
        let json = serde_json::to_value(check).unwrap();
        assert_eq!(json["outcome"], "failed");
        let values = [&json["expected"], &json["found"]].map(|value| value.as_str().unwrap().len());
        assert_eq!(values, [66, 66], "{check:?}");
        assert_ne!(json["expected"], json["found"]);
    }
}

#[test]
fn a_removed_value_is_refused_unless_it_said_nothing() {
    for (name, original) in fixtures() {
        let original_report = report(&original).unwrap();
        walk(&original, Place::default(), &mut |place, value| {
            let Some((parent, last)) = place.pointer.rsplit_once('/') else { return };
            let mut tree = original.clone();
            match tree.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.remove(last)),
                Value::Array(list) => drop(list.remove(last.parse().unwrap())),
                _ => unreachable!("a value inside a leaf"),
            }
            let says_nothing = matches!(value, Value::Bool(false))
                || value.as_str() == Some("")
                || value.as_u64() == Some(0)
                || value.as_object().is_some_and(|map| map.values().all(|value| value == ""));
            if accepted(&tree) {
                assert!(
                    says_nothing || !covered(&original_report, &place.path),
                    "{name}: {} removed",
                    place.path
                );
            }
        });
    }
}

#[test]
fn a_field_that_the_version_does_not_have_is_listed() {
    for (name, original) in fixtures() {
        let mut objects = Vec::new();
        walk(&original, Place::default(), &mut |place, value| {
            if value.is_object() {
                objects.push(place.clone());
            }
        });
        assert!(objects.len() > 3, "{name}");
        for place in objects {
            let mut tree = original.clone();
            tree.pointer_mut(&place.pointer).unwrap()["surprise"] = json!({ "inside": [1] });
            let report = report(&tree).unwrap();
            assert!(!report.refused(), "{name}: {}", place.path);
            let path = place.key("surprise").path;
            assert!(!covered(&report, &path), "{name}: {path} is not listed");
        }
    }
}

#[test]
fn swapped_operators_are_refused() {
    for (name, original) in fixtures() {
        for pointer in ["/operators", "/cluster_definition/operators", "/node_signatures"] {
            let mut tree = original.clone();
            let Some(list) = tree.pointer_mut(pointer).and_then(Value::as_array_mut) else { continue };
            list.swap(0, 1);
            assert!(!accepted(&tree), "{name}: {pointer}");
        }
    }
}
