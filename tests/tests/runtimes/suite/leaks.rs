//! Nothing stays behind: descriptors and threads are as many as before. Other tests would be counted as
//! well, so this one runs in a process of its own.

use std::process::Command;

/// Set in the process of its own.
const ALONE: &str = "CORACLE_COUNT_LEAKS";

#[test]
#[cfg(target_os = "linux")] // where /proc tells
fn nothing_stays_behind() {
    if std::env::var_os(ALONE).is_some() {
        counted::run();
        return;
    }
    let name = concat!(module_path!(), "::nothing_stays_behind");
    let name = name.split_once("::").unwrap().1;
    let alone = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&alone.stdout);
    print!("{out}");
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
    assert!(out.contains("1 passed"), "the test of its own did not run");
}

#[cfg(target_os = "linux")]
mod counted {
    use std::{fs, time::Duration};

    use coracle_core::node::Command;

    use super::super::adapter::{self, NoStore};
    use super::super::node::{Running, config, loopback, peer_id, within};

    fn descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }

    fn threads() -> usize {
        fs::read_dir("/proc/self/task").unwrap().count()
    }

    /// Two nodes with a channel, and their end.
    async fn live_and_end() {
        let mut a = Running::start(config(1, &[1, 2]), &loopback(), NoStore);
        let mut b = Running::start(config(2, &[1, 2]), &loopback(), NoStore);
        b.request(Command::Hint(peer_id(1), a.tcp[0])).await;
        a.channel_up(peer_id(2)).await;
        b.channel_up(peer_id(1)).await;
        within("shutdown", a.handle.shutdown()).await;
        within("shutdown", b.handle.shutdown()).await;
    }

    async fn body() {
        // The runtime's own descriptors and threads are made by what comes first.
        for _ in 0..3 {
            live_and_end().await;
        }
        let most = (settled(descriptors).await, settled(threads).await);
        for _ in 0..10 {
            live_and_end().await;
        }
        within("as few descriptors and threads as before", async {
            while descriptors() > most.0 || threads() > most.1 {
                adapter::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        println!("{} descriptors and {} threads before and after", most.0, most.1);
    }

    /// Writers have a while for their farewell: the number when it has stopped falling.
    async fn settled(count: fn() -> usize) -> usize {
        let mut least = count();
        for _ in 0..30 {
            adapter::sleep(Duration::from_millis(100)).await;
            least = least.min(count());
        }
        least
    }

    pub(super) fn run() {
        adapter::block_on(body());
    }
}
