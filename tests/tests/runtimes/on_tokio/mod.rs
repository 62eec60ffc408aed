//! The suite over tokio.

#[path = "../../common/on_tokio.rs"]
pub(crate) mod adapter;
#[path = "../suite/mod.rs"]
pub(crate) mod suite;

/// Runs the nodes on threads of their own (async-std always does).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_mesh_on_several_threads() {
    suite::mesh::two_nodes_mesh("127.0.0.1").await;
}
