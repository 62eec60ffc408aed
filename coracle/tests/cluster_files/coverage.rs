//! Which check refuses a change of which field, version by version: found by changing each, and kept as a table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use coracle::cluster_file::{CheckKind, Version};
use serde_json::Value;

use crate::{
    changes::{Place, changed, report, walk},
    fixtures::WRITE,
    generator,
};

const BEGIN: &str = "<!-- made by the tests of coracle: begin -->\n";
const END: &str = "<!-- made by the tests of coracle: end -->\n";

/// The letter of a check that failed.
fn letter(kind: CheckKind) -> char {
    match kind {
        CheckKind::ConfigHash => 'c',
        CheckKind::DefinitionHash => 'd',
        CheckKind::LockHash => 'l',
        CheckKind::OperatorRecord | CheckKind::DistinctKeys => 'e',
        CheckKind::NodeSignature => 'n',
        CheckKind::OperatorSignature => 'o',
        CheckKind::CreatorSignature => 'k',
        CheckKind::KeyShares => 's',
        CheckKind::AggregateSignature => 'a',
        CheckKind::Deposits => 'p',
        CheckKind::Registrations => 'b',
        _ => '#',
    }
}

/// The letters of all that refuses the file when this leaf is changed: of the first change that can be read at all.
fn refusal(original: &Value, place: &Place, value: &Value) -> String {
    let mut cell = String::from("R");
    for other in changed(value) {
        let mut tree = original.clone();
        *tree.pointer_mut(&place.pointer).unwrap() = other;
        if let Some(report) = report(&tree) {
            let letters: BTreeSet<char> = report.failed().map(|check| letter(check.check)).collect();
            cell = letters.into_iter().collect();
            break;
        }
    }
    if cell.is_empty() { "NOTHING".to_owned() } else { cell }
}

/// The place without its indexes: what holds for one entry of a list holds for all.
fn field(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        inside = match c {
            '[' => true,
            ']' => false,
            _ => inside,
        };
        if c == '[' || c == ']' || !inside {
            out.push(c);
        }
    }
    out
}

fn table() -> String {
    let versions: Vec<Version> = Version::all().collect();
    let mut order: Vec<String> = Vec::new();
    let mut cells: BTreeMap<(String, Version), String> = BTreeMap::new();
    // Newest first, which has the most fields, so that rows stand in its order.
    for &version in versions.iter().rev() {
        let original: Value = serde_json::from_str(&generator::files(version)[1].1).unwrap();
        walk(&original, Place::default(), &mut |place, value| {
            let name = field(&place.path);
            if value.is_object() || value.is_array() || cells.contains_key(&(name.clone(), version)) {
                return;
            }
            if !order.contains(&name) {
                order.push(name.clone());
            }
            cells.insert((name, version), refusal(&original, place, value));
        });
    }
    let mut out = String::from("| field of a lock |");
    versions
        .iter()
        .for_each(|version| write!(out, " {} |", version.as_str().strip_suffix(".0").unwrap()).unwrap());
    out.push_str("\n|---|");
    versions.iter().for_each(|_| out.push_str("---|"));
    for name in order {
        write!(out, "\n| `{name}` |").unwrap();
        for &version in &versions {
            write!(out, " {} |", cells.get(&(name.clone(), version)).map_or("", String::as_str)).unwrap();
        }
    }
    out.push('\n');
    out
}

#[test]
fn the_table_of_what_covers_what_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CLUSTER_FILES.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the mark before the table");
    let (committed, after) = rest.split_once(END).expect("the mark after the table");
    let table = table();
    assert!(!table.contains("NOTHING"), "a field that nothing covers must be listed by the report:\n{table}");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert!(committed == table, "CLUSTER_FILES.md differs; {WRITE}=1 writes it anew");
    }
}
