//! Every value of every fixture, changed one at a time: refused, unless the report says that nothing covers it.
//!
//! The changes are made by walking the JSON, so that a field added to a version is tried without being listed.

use coracle::cluster_file::{ClusterFile, Report, Version, config_hash, definition_hash, lock_hash};
use serde_json::{Value, json};

use crate::generator;

/// A place in a JSON tree: keys and indexes, and how reports write it.
#[derive(Clone, Default)]
pub(crate) struct Place {
    pub(crate) pointer: String,
    pub(crate) path: String,
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
pub(crate) fn walk<'v>(value: &'v Value, at: Place, visit: &mut impl FnMut(&Place, &'v Value)) {
    visit(&at, value);
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| walk(value, at.key(key), visit)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| walk(value, at.index(i), visit)),
        _ => {}
    }
}

/// Other values that might stand in place of a leaf.
pub(crate) fn changed(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) if text.is_empty() => {
            let filled = [20, 32, 48, 65, 96].map(|length| json!(format!("0x{}", "5a".repeat(length))));
            let mut out = filled.to_vec();
            // The same as base64, 65 bytes of it.
            out.push(json!(format!("{}WlpaWlo=", "Wlpa".repeat(20))));
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

pub(crate) fn report(value: &Value) -> Option<Report> {
    ClusterFile::parse(value.to_string().as_bytes()).ok().map(|file| file.verify())
}

/// Whether a file is read, and no check of it fails. A hash that does not hold is a failed check, so that the
/// costly ones are made only where the hashes hold.
fn accepted(value: &Value) -> bool {
    let Ok(file) = ClusterFile::parse(value.to_string().as_bytes()) else { return false };
    let definition = file.definition();
    let hashes_hold = config_hash(definition) == definition.config_hash
        && definition_hash(definition) == definition.definition_hash
        && file.lock().is_none_or(|lock| lock_hash(lock) == lock.lock_hash);
    hashes_hold && !file.verify().refused()
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

/// Every change of every value of `version`'s files.
fn all_changes_are_refused(versions: impl Iterator<Item = Version>) {
    let parse = |(name, text): (String, String)| (name, serde_json::from_str::<Value>(&text).unwrap());
    for (name, original) in versions.flat_map(generator::files).map(parse) {
        let original_report = report(&original).unwrap();
        let mut refused = 0;
        walk(&original, Place::default(), &mut |place, value| {
            assert!(covered(&original_report, &place.path), "{name}: {}", place.path);
            for other in changed(value) {
                let mut tree = original.clone();
                *tree.pointer_mut(&place.pointer).unwrap() = other.clone();
                assert!(!accepted(&tree), "{name}: {} = {value} changed to {other}", place.path);
                refused += 1;
            }
        });
        assert!(refused > 50, "{name}: only {refused} changes were tried");
    }
}

// Four of them, so that they run beside each other.

#[test]
fn every_changed_value_is_refused_up_to_v1_4() {
    all_changes_are_refused(Version::all().take(5));
}

#[test]
fn every_changed_value_is_refused_from_v1_5() {
    all_changes_are_refused(Version::all().skip(5).take(3));
}

#[test]
fn every_changed_value_is_refused_from_v1_8() {
    all_changes_are_refused(Version::all().skip(8).take(2));
}

#[test]
fn every_changed_value_is_refused_from_v1_10() {
    all_changes_are_refused(Version::all().skip(10));
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

/// The earliest locks were written without an aggregate signature, so that its absence is no failure there.
fn may_be_missing(name: &str, path: &str) -> bool {
    path == "signature_aggregate" && ["lock-v1.0.0.json", "lock-v1.1.0.json"].contains(&name)
}

#[test]
fn a_removed_value_is_refused_unless_it_said_nothing() {
    for (name, original) in fixtures() {
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
                assert!(says_nothing || may_be_missing(&name, &place.path), "{name}: {} removed", place.path);
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

/// What no version writes in place of a leaf: other encodings, other lengths, numbers out of range.
fn malformed(value: &Value) -> Vec<Value> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut out = vec![json!([]), json!({}), json!([value]), json!({ "": value })];
    match value {
        Value::String(text) => {
            out.push(json!(7));
            if let Some(digits) = text.strip_prefix("0x") {
                let bytes = hex::decode(digits).unwrap();
                out.push(json!(STANDARD.encode(&bytes)));
                out.push(json!(format!("0x{}", &digits[1..])));
                out.push(json!(format!("0x{}", &digits[2..])));
                out.push(json!(format!("0x{digits}00")));
                out.push(json!(format!("0x0x{digits}")));
                out.push(json!(format!(" {text}")));
                out.push(json!(format!("0x{}g", &digits[1..])));
            } else if let Ok(bytes) = STANDARD.decode(text)
                && bytes.len() >= 32
            {
                out.push(json!(format!("0x{}", hex::encode(&bytes))));
                out.push(json!(hex::encode(&bytes)));
                out.push(json!(STANDARD.encode(&bytes[1..])));
                out.push(json!(text.trim_end_matches('=').to_owned() + "!"));
            }
        }
        Value::Number(_) => {
            out.extend([json!("x"), json!(true), json!(-1), json!(u64::MAX), json!(1e300), json!(0.5)]);
        }
        _ => out.extend([json!(3), json!("x")]),
    }
    out.retain(|other| other != value && !matches!(value, Value::Object(_) | Value::Array(_)));
    out
}

#[test]
fn malformed_values_are_refused() {
    for (name, original) in fixtures() {
        walk(&original, Place::default(), &mut |place, value| {
            for other in malformed(value) {
                let mut tree = original.clone();
                *tree.pointer_mut(&place.pointer).unwrap() = other.clone();
                assert!(!accepted(&tree), "{name}: {} = {value} as {other}", place.path);
            }
        });
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
