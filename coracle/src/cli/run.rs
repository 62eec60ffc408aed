//! `coracle run`: a node on a data directory, until it is told to stop.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::SystemTime,
};

use clap::Args;
use coracle::{
    data_dir::DataDir,
    database::{Change, Database},
    host::{self, DatabaseStore},
    key_file,
};
use coracle_core::{
    crypto::{Crypto as _, RustCrypto},
    node::Config,
    record::Record,
    refresh::Configured,
};
use coracle_tokio::Listen;
use serde_json::json;

use super::{
    crypto,
    error::CliError,
    events::{Names, Told, Weight},
    hint_names::HintNames,
    live::Live,
    membership::Membership,
    output::Output,
    peer_hint::PeerHint,
    runtime::{Runtime, Sockets},
    watch::Watch,
};

/// Where a Charon node listens unless it is told otherwise.
const DEFAULT_TCP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 3610);
const DEFAULT_UDP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 3630);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The cluster lock or definition [default: the one in the data directory]. It is read again on SIGHUP; a
    /// definition is followed by cluster-lock.json beside it, as soon as that is there
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
    /// Where an operator may be: PEER_ID@HOST:PORT, a multiaddr, or its ENR; HOST:PORT, or a multiaddr without
    /// /p2p/PEER_ID, is tried for any that is missing
    #[arg(long, value_name = "PEER")]
    peer: Vec<PeerHint>,
    /// The ENR of a node outside the cluster that helps to find others
    #[arg(long, value_name = "ENR")]
    bootnode: Vec<String>,
    /// What the other operators see this node called (in Charon's peerinfo)
    #[arg(long, value_name = "NAME")]
    nickname: Option<String>,
    /// The runtime under the node
    #[arg(long, value_enum, default_value_t)]
    runtime: Runtime,
    /// Also tell of every dial and ping
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(data_dir: &DataDir, arguments: &Arguments, out: &mut Output) -> Result<ExitCode, CliError> {
    arguments.check()?;
    data_dir.check_key_lock(SystemTime::now())?;
    let secret = key_file::load(&data_dir.key_file())?;
    let (membership, checked) =
        Membership::open(data_dir, arguments.cluster_file.as_deref(), arguments.no_verify)?;
    let (path, file, mut notes) = (checked.path, checked.file, checked.notes);
    let database = Arc::new(Database::open(&data_dir.database())?);
    let own = RustCrypto.public_key(&secret);
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
        let sockets = Sockets::bind(arguments.runtime, arguments.listen())?;
        let mut live = Live::new(out, config.members.len().saturating_sub(1), arguments.verbose);
        for line in notes {
            live.tell(None, note(line))?;
        }
        let listening: Vec<String> = sockets
            .tcp_addresses()
            .into_iter()
            .map(|a| format!("{a}/tcp"))
            .chain(sockets.udp_addresses().into_iter().map(|a| format!("{a}/udp")))
            .collect();
        live.say(
            format!(
                "{} of {} listens on {}, with cryptography by {}",
                names_own(&config, &names),
                path.display(),
                listening.join(" "),
                crypto::libraries()
            ),
            json!({"event": "listening", "addresses": listening, "cryptography": crypto::libraries()}),
        )?;
        let store = DatabaseStore(Arc::clone(&database));
        let info = config.info.clone();
        let node = sockets.start(config, store).map_err(start_error)?;
        let hint_names = HintNames::start(arguments.peer.iter().filter_map(PeerHint::name), &node);
        let watch = Watch {
            node: &node,
            own,
            info,
            database: &database,
            membership,
            names,
            hint_names,
            live: &mut live,
        };
        let watched = watch.run().await;
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
    config.info.nickname.extend(arguments.nickname.as_deref());
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

/// Something of the program's own that is not to be missed.
pub(super) fn note(line: String) -> Told {
    let object = [("event", "note".into()), ("note", line.clone().into())];
    let object = object.into_iter().map(|(key, value): (&str, serde_json::Value)| (key.to_owned(), value));
    Told { weight: Weight::Trouble, object: object.collect(), line }
}
