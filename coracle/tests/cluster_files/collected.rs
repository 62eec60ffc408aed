//! Files collected elsewhere, which the project does not hold: `COLLECTED_CLUSTER_FILES` names their directory.

use coracle::cluster_file::{CheckKind, ClusterFile, Outcome};

const VARIABLE: &str = "COLLECTED_CLUSTER_FILES";

#[test]
fn the_hashes_of_every_collected_file_hold() {
    let Some(directory) = std::env::var_os(VARIABLE) else {
        println!("no collected files: {VARIABLE} is not set");
        return;
    };
    let entries = std::fs::read_dir(&directory).expect("COLLECTED_CLUSTER_FILES names a directory");
    let mut paths: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{VARIABLE} names an empty directory");
    for path in &paths {
        let file = ClusterFile::parse(&std::fs::read(path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let report = file.verify();
        println!("{} ({})", path.display(), file.version());
        for check in &report.checks {
            println!("  {:<18} {} {:?}", format!("{:?}", check.check), check.field, check.outcome);
        }
        for entry in &report.uncovered {
            println!("  not covered        {}: {}", entry.field, entry.because);
        }
        for check in &report.checks {
            if matches!(check.check, CheckKind::ConfigHash | CheckKind::DefinitionHash | CheckKind::LockHash)
            {
                assert_eq!(check.outcome, Outcome::Verified, "{}: {}", path.display(), check.field);
            }
        }
    }
    println!("{} collected files", paths.len());
}
