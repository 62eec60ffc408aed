//! `coracle run`: a node on a data directory, until it is told to stop.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Args;
use coracle::{
    cluster_file::{ClusterFile, Outcome, Report},
    data_dir::DataDir,
    database::{Change, Database},
    files,
    host::{self, DatabaseStore},
    key_file,
};
use coracle_core::{
    crypto::RustCrypto,
    node::{Config, Notice, Snapshot},
    record::Record,
    refresh::Configured,
};
use coracle_tokio::{Handle, Listen, Sockets};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{
    error::CliError,
    events::{self, Names, Told, Weight},
    live::{Live, mark},
    lock_verify,
    output::Output,
    peer_hint::PeerHint,
};

/// Where a Charon node listens unless it is told otherwise.
const DEFAULT_TCP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 3610);
const DEFAULT_UDP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 3630);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The cluster lock or definition [default: the one in the data directory]
    #[arg(long, value_name = "FILE")]
    cluster_file: Option<PathBuf>,
    /// Use the cluster file even if a check of it fails
    #[arg(long)]
    no_verify: bool,
    /// Listen for channels here; once for IPv4, once for IPv6 [default: 0.0.0.0:3610]
    #[arg(long, value_name = "IP:PORT")]
    tcp: Vec<SocketAddr>,
    /// Listen for discovery here; once for IPv4, once for IPv6 [default: 0.0.0.0:3630]
    #[arg(long, value_name = "IP:PORT")]
    udp: Vec<SocketAddr>,
    /// Advertise this address, whatever the interfaces or other operators say; once a family
    #[arg(long, value_name = "IP")]
    external_ip: Vec<IpAddr>,
    /// Advertise the addresses of this name, looked up again every minute
    #[arg(long, value_name = "NAME")]
    external_hostname: Option<String>,
    /// Advertise this TCP port [default: the one listened on]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    external_tcp_port: Option<u16>,
    /// Advertise this UDP port [default: the one listened on]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    external_udp_port: Option<u16>,
    /// Where an operator may be: PEER_ID@HOST:PORT, a multiaddr that ends in /p2p/PEER_ID, or its ENR
    #[arg(long, value_name = "PEER")]
    peer: Vec<PeerHint>,
    /// The ENR of a node outside the cluster that helps to find others
    #[arg(long, value_name = "ENR")]
    bootnode: Vec<String>,
    /// Also tell of every dial and ping
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(data_dir: &DataDir, arguments: &Arguments, out: &mut Output) -> Result<ExitCode, CliError> {
    arguments.check()?;
    data_dir.check_key_lock(SystemTime::now())?;
    let secret = key_file::load(&data_dir.key_file())?;
    let path = arguments.cluster_file.clone().or_else(|| data_dir.cluster_file()).ok_or_else(|| {
        CliError::failed(
            format!("no cluster-lock.json or cluster-definition.json in {}", data_dir.path().display()),
            "name the file with --cluster-file, or its directory with --data-dir",
        )
    })?;
    let file = files::read_cluster_file(&path)?;
    let mut notes = verified(&file, &path, arguments.no_verify)?;
    let database = Database::open(&data_dir.database())?;
    let about_file = |error| CliError::host(&path, error);
    let mut config = host::configure(secret, &file, &database).map_err(about_file)?;
    let members = file.members().map_err(|error| about_file(error.into()))?;
    let names = Names::by_position(members.iter().map(|member| member.record.peer_id()));

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(
            |error| CliError::failed(format!("cannot start threads: {error}"), "free some memory"),
        )?;
    runtime.block_on(async {
        notes.extend(configure(&mut config, arguments).await?);
        // The node stores what it learns, and not what it was told: the next start may be without the flag.
        let records = arguments.peer.iter().filter_map(PeerHint::record);
        database.apply(&records.cloned().map(Change::Peer).collect::<Vec<_>>())?;
        let sockets = Sockets::bind(&arguments.listen())?;
        let mut live = Live::new(out, config.members.len().saturating_sub(1), arguments.verbose);
        for line in notes {
            live.tell(
                None,
                Told {
                    weight: Weight::Trouble,
                    object: object(json!({"event": "note", "note": line})),
                    line,
                },
            )?;
        }
        let listening: Vec<String> = sockets
            .tcp_addresses()
            .map(|a| format!("{a}/tcp"))
            .chain(sockets.udp_addresses().map(|a| format!("{a}/udp")))
            .collect();
        live.say(
            format!(
                "{} of {} listens on {}",
                names_own(&config, &names),
                path.display(),
                listening.join(" ")
            ),
            json!({"event": "listening", "addresses": listening}),
        )?;
        let node = coracle_tokio::start(sockets, config, DatabaseStore(database)).map_err(start_error)?;
        let watched = watch(&node, &names, &mut live).await;
        live.end_table();
        watched?;
        live.say("stopping: closing channels", json!({"event": "stopping"}))?;
        node.shutdown().await;
        live.say("stopped", json!({"event": "stopped"}))
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// Refuses what could only be ignored: the second value of a flag that is given once a family.
    fn check(&self) -> Result<(), CliError> {
        let sockets = |addresses: &[SocketAddr]| {
            addresses.iter().map(|address| (address.is_ipv4(), address.to_string())).collect::<Vec<_>>()
        };
        let external = self.external_ip.iter().map(|ip| (ip.is_ipv4(), ip.to_string()));
        for (flag, given) in [
            ("--tcp", sockets(&self.tcp)),
            ("--udp", sockets(&self.udp)),
            ("--external-ip", external.collect()),
        ] {
            for (is_ipv4, family) in [(true, "IPv4"), (false, "IPv6")] {
                let mut of_family = given.iter().filter(|value| value.0 == is_ipv4);
                if let (Some((_, first)), Some((_, second))) = (of_family.next(), of_family.next()) {
                    return Err(CliError::usage(
                        format!("{flag}: {first} and {second} are both {family}"),
                        format!("give {flag} once for IPv4 and once for IPv6 at most"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn listen(&self) -> Listen {
        let or =
            |given: &Vec<SocketAddr>, default| if given.is_empty() { vec![default] } else { given.clone() };
        Listen { tcp: or(&self.tcp, DEFAULT_TCP), udp: or(&self.udp, DEFAULT_UDP) }
    }
}

/// Refuses a file of which a check fails; returns notes on what was not believed, or not checked.
fn verified(file: &ClusterFile, path: &Path, no_verify: bool) -> Result<Vec<String>, CliError> {
    let report = file.verify();
    let failed: Vec<String> = report
        .failed()
        .map(|check| match &check.outcome {
            Outcome::Failed { expected, found } => {
                format!("{}: expected {expected}, found {found}", check.field)
            }
            _ => check.field.clone(),
        })
        .collect();
    if !failed.is_empty() && !no_verify {
        return Err(CliError::failed(
            format!("{} is refused: {}", path.display(), failed.join("; ")),
            "get the file again from the cluster's creator; `coracle lock verify` lists every check",
        ));
    }
    let mut notes: Vec<String> =
        failed.into_iter().map(|check| format!("used all the same (--no-verify): {check}")).collect();
    notes.extend(not_checked(&report));
    if !report.is_signed() {
        notes.push(lock_verify::NOT_SIGNED.to_owned());
    }
    Ok(notes)
}

/// How many checks were not made, and why, each reason once. `lock verify` has the list.
fn not_checked(report: &Report) -> Option<String> {
    let mut count = 0;
    let mut reasons: Vec<&str> = Vec::new();
    for check in &report.checks {
        if let Outcome::NotChecked { because } = &check.outcome {
            count += 1;
            if !reasons.contains(&because.as_str()) {
                reasons.push(because);
            }
        }
    }
    (count > 0).then(|| {
        let checks = if count == 1 { "check was" } else { "checks were" };
        format!("{count} {checks} not made on the cluster file: {}", reasons.join("; "))
    })
}

/// What the flags say, put into the configuration; returns notes on what of it is not used.
async fn configure(config: &mut Config, arguments: &Arguments) -> Result<Vec<String>, CliError> {
    let v4 =
        arguments.external_ip.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
    let v6 =
        arguments.external_ip.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
    config.configured = Configured {
        ip4: v4,
        ip6: v6,
        udp_port: arguments.external_udp_port,
        tcp_port: arguments.external_tcp_port,
    };
    config.hostname.clone_from(&arguments.external_hostname);
    for text in &arguments.bootnode {
        let record = Record::from_text(text, &RustCrypto).map_err(|error| {
            CliError::failed(format!("--bootnode {text}: {error}"), "give a whole ENR, beginning with enr:")
        })?;
        config.bootnodes.push(record);
    }
    let mut notes = Vec::new();
    for hint in &arguments.peer {
        notes.extend(hint.apply(config).await?);
    }
    Ok(notes)
}

fn names_own(config: &Config, names: &Names) -> String {
    config.lock_record.as_ref().map_or_else(|| "this node".to_owned(), |record| names.of(&record.peer_id()))
}

fn start_error(error: coracle_tokio::StartError) -> CliError {
    match error {
        coracle_tokio::StartError::Bind(error) => error.into(),
        other => CliError::failed(other, "check the flags and the cluster file"),
    }
}

/// Tells what happens until a signal says stop. A node that stops before that is an error.
async fn watch(node: &Handle, names: &Names, live: &mut Live<'_>) -> Result<(), CliError> {
    let mut notices = node.notices();
    let mut refresh = tokio::time::interval(Duration::from_millis(500));
    let mut stop = std::pin::pin!(stop_signal());
    loop {
        tokio::select! {
            notice = notices.recv() => match notice {
                Ok(notice) => live.tell(None, with_enr(node, &notice, events::tell(&notice, names)).await)?,
                Err(RecvError::Lagged(missed)) => live.say(
                    format!("{missed} events were missed: this output is too slow"),
                    json!({"event": "missed", "count": missed}),
                )?,
                Err(RecvError::Closed) => return Err(died()),
            },
            _ = refresh.tick() => {
                let Ok(snapshot) = node.snapshot().await else { return Err(died()) };
                live.rows(&rows(&snapshot, names));
            }
            () = &mut stop => return Ok(()),
        }
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
        told.line = format!("{}\n           {record}", told.line);
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

/// Ends when the process is asked to stop: Ctrl-C, or SIGTERM where there is such a thing.
pub(super) async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = tokio::signal::ctrl_c() => return,
            }
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn object(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match value {
        serde_json::Value::Object(object) => object,
        _ => serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use coracle_core::{
        cluster::MemberConfig,
        crypto::{Crypto as _, SecretKey},
        rng::Seed,
    };
    use coracle_tokio::NoStore;

    use super::*;

    /// The process is to end with an error, so that whoever keeps it running hears of it.
    #[tokio::test]
    async fn a_node_that_stops_by_itself_is_an_error() {
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let members = vec![MemberConfig::new(RustCrypto.public_key(&secret))];
        let config = Config::new(secret, Seed::new([1; 32]), members);
        let any = "127.0.0.1:0".parse().unwrap();
        let sockets = Sockets::bind(&Listen { tcp: vec![any], udp: vec![any] }).unwrap();
        let node = coracle_tokio::start(sockets, config, NoStore).unwrap();
        let other = node.clone();
        let stop = tokio::spawn(async move { other.shutdown().await });
        let mut out = Output::new(false);
        let mut live = Live::new(&mut out, 0, false);
        let names = Names::by_position([node.peer_id()].into_iter());
        let watched = tokio::time::timeout(Duration::from_secs(30), watch(&node, &names, &mut live));
        let error = watched.await.expect("watched for ever").unwrap_err();
        assert!(format!("{error:?}").contains("without being asked"), "{error:?}");
        stop.await.unwrap();
    }
}
