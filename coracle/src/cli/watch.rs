//! A running node from its start until it is told to stop: what it tells, and the operator's word.

use std::time::{Duration, Instant};

use coracle::{database::Database, host};
use coracle_core::{
    crypto::PublicKey,
    node::{Command, LocalInfo, Notice, Snapshot},
};
use coracle_tokio::Stopped;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{
    absence::Absences,
    acquaintance::Acquaintances,
    error::CliError,
    events::{self, Names, Told, Weight},
    hint_names::HintNames,
    live::{Live, mark},
    membership::{Checked, Membership},
    run::{note, stop_signal},
    runtime::Handle,
};

/// Time between two looks for a lock, while there is only a definition.
const LOOK_FOR_LOCK: Duration = Duration::from_secs(3);

/// What goes on beside the node.
pub(super) struct Watch<'a, 'o> {
    pub(super) node: &'a Handle,
    pub(super) own: PublicKey,
    pub(super) info: LocalInfo,
    pub(super) database: &'a Database,
    pub(super) membership: Membership,
    pub(super) names: Names,
    pub(super) hint_names: HintNames,
    pub(super) live: &'a mut Live<'o>,
}

impl Watch<'_, '_> {
    /// Tells what happens until a signal says stop. A node that stops before that is an error.
    pub(super) async fn run(mut self) -> Result<(), CliError> {
        let mut notices = self.node.notices();
        let mut refresh = tokio::time::interval(Duration::from_millis(500));
        let mut look = tokio::time::interval(LOOK_FOR_LOCK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut absences = Absences::default();
        let mut acquaintances = Acquaintances::default();
        let mut stop = std::pin::pin!(stop_signal());
        let mut hangups = Hangups::new()?;
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Ok(notice) => {
                        self.hint_names.hear(&notice);
                        let mut told = events::tell(&notice, &self.names);
                        if !absences.hear(&notice) {
                            told.weight = Weight::Detail;
                        }
                        let told = with_enr(self.node, &notice, told).await;
                        self.live.tell(None, told)?;
                    }
                    Err(RecvError::Lagged(missed)) => self.live.say(
                        format!("{missed} events were missed: this output is too slow"),
                        json!({"event": "missed", "count": missed}),
                    )?,
                    Err(RecvError::Closed) => return Err(died()),
                },
                _ = refresh.tick() => {
                    let snapshot = self.node.snapshot().await.map_err(|Stopped| died())?;
                    for told in absences.report(Instant::now(), &snapshot, &self.names) {
                        self.live.tell(None, told)?;
                    }
                    for told in acquaintances.report(&snapshot, &self.names) {
                        self.live.tell(None, told)?;
                    }
                    self.live.rows(&rows(&snapshot, &self.names));
                }
                // Reading and checking a file holds up nothing but this output.
                _ = look.tick(), if self.membership.awaits_lock() => {
                    if let Some(found) = self.membership.look_for_lock() {
                        self.go_by(found).await?;
                    }
                }
                () = hangups.recv() => {
                    let found = self.membership.read_again();
                    self.go_by(found).await?;
                }
                () = &mut stop => return Ok(()),
            }
        }
    }

    /// Goes by a cluster file from now on, if it is good and the node takes it.
    async fn go_by(&mut self, found: Result<Checked, CliError>) -> Result<(), CliError> {
        let checked = match found {
            Ok(checked) => checked,
            Err(error) => return self.refused(&error),
        };
        let members = match host::members(&self.own, &checked.file, self.database) {
            Ok(members) => members,
            Err(error) => return self.refused(&CliError::host(&checked.path, error)),
        };
        let names = checked.file.members().map(|members| members.into_iter().map(|m| m.record.peer_id()));
        let answer = self.node.request(Command::SetMembers(members)).await.map_err(|Stopped| died())?;
        if let Err(error) = answer {
            let message = format!("{}: {error}", checked.path.display());
            return self.refused(&CliError::failed(message, "correct the file, or start the node again"));
        }
        self.info = host::info_with(&self.info, &checked.file);
        let told = self.node.request(Command::SetInfo(self.info.clone())).await.map_err(|Stopped| died())?;
        debug_assert!(told.is_ok(), "a lock hash of 32 bytes is always taken");
        if let Ok(names) = names {
            self.names = Names::by_position(names);
        }
        let was_definition = self.membership.awaits_lock();
        self.membership.goes_by(&checked);
        for line in checked.notes {
            self.live.tell(None, note(line))?;
        }
        let kind = if checked.file.lock().is_some() { "lock" } else { "definition" };
        let what = if was_definition && kind == "lock" { "the lock has come" } else { "read again" };
        let path = checked.path.display().to_string();
        self.live.good(
            format!("{what}: the members are those of {path}"),
            json!({"event": "cluster_file", "path": path, "kind": kind}),
        )
    }

    fn refused(&mut self, error: &CliError) -> Result<(), CliError> {
        let why = error.line();
        self.live.trouble(
            format!("the members stay as they are: {why}"),
            json!({"event": "cluster_file_refused", "why": why}),
        )
    }
}

/// SIGHUP, where there is such a thing.
struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Hangups {
    #[cfg(unix)]
    fn new() -> Result<Self, CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        let signal = signal(SignalKind::hangup()).map_err(|error| {
            CliError::failed(format!("cannot listen for SIGHUP: {error}"), "free some descriptors")
        })?;
        Ok(Self { signal })
    }

    #[cfg(not(unix))]
    const fn new() -> Result<Self, CliError> {
        Ok(Self {})
    }

    async fn recv(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

fn died() -> CliError {
    CliError::failed(
        "the node stopped without being asked to",
        "start it again, and report this as a bug with what was printed before",
    )
}

/// A record that is in force is shown whole: other operators may need it as a hint.
async fn with_enr(node: &Handle, notice: &Notice, mut told: Told) -> Told {
    if let Notice::Published { seq, .. } = notice
        && let Ok(Snapshot { record: Some(record), .. }) = node.snapshot().await
        && record.seq() == *seq
    {
        told.object.insert("enr".into(), record.to_string().into());
        told.line = format!("{}: {record}", told.line);
    }
    told
}

fn rows(snapshot: &Snapshot, names: &Names) -> Vec<String> {
    snapshot
        .members
        .iter()
        .map(|member| {
            let state = match member.channel {
                Some(channel) => {
                    let rtt = channel
                        .rtt
                        .map_or_else(String::new, |rtt| format!("{:>9.2} ms", rtt.as_secs_f64() * 1e3));
                    format!("{:<24} {:<9}{rtt}", channel.endpoint, channel.origin)
                }
                None => events::because(member.reachability),
            };
            format!("{} {:<12} {state}", mark(member.channel.is_some()), names.of(&member.peer_id))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use coracle_core::{
        cluster::MemberConfig,
        crypto::{Crypto as _, RustCrypto, SecretKey},
        id::PeerId,
        node::Config,
        rng::Seed,
    };
    use coracle_tokio::{Listen, NoStore};

    use super::*;
    use crate::cli::{
        output::Output,
        runtime::{Runtime, Sockets},
    };

    /// The process is to end with an error, so that whoever keeps it running hears of it.
    #[tokio::test]
    async fn a_node_that_stops_by_itself_is_an_error() {
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let own = RustCrypto.public_key(&secret);
        let members = vec![MemberConfig::new(own)];
        let config = Config::new(secret, Seed::new([1; 32]), members);
        let any = "127.0.0.1:0".parse().unwrap();
        let sockets = Sockets::bind(Runtime::Tokio, Listen { tcp: vec![any], udp: vec![any] }).unwrap();
        let node = sockets.start(config, NoStore).unwrap();
        let other = node.clone();
        let stop = tokio::spawn(async move { other.shutdown().await });
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("database")).unwrap();
        let mut out = Output::new(false);
        let mut live = Live::new(&mut out, 0, false);
        let watch = Watch {
            node: &node,
            own,
            info: LocalInfo::new(),
            database: &database,
            membership: Membership::of(directory.path()),
            names: Names::by_position([PeerId::from_public_key(&own)]),
            hint_names: HintNames::start([], &node),
            live: &mut live,
        };
        let watched = tokio::time::timeout(Duration::from_secs(30), watch.run());
        let error = watched.await.expect("watched for ever").unwrap_err();
        assert!(format!("{error:?}").contains("without being asked"), "{error:?}");
        stop.await.unwrap();
    }
}
