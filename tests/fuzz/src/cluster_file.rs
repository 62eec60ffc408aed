//! Cluster definitions and locks.

use coracle::cluster_file::ClusterFile;

/// Any bytes give a file or an error; what is a file can be verified and listed.
pub fn cluster_file(data: &[u8]) {
    let Ok(file) = ClusterFile::parse(data) else { return };
    let _ = file.verify();
    if let Ok(members) = file.members() {
        let positions: Vec<usize> = members.iter().map(|member| member.position).collect();
        assert_eq!(positions, (0..file.definition().operators.len()).collect::<Vec<_>>());
    }
}
