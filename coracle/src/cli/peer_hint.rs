//! `--peer`: where an operator may be, in any of the forms that operators exchange.

use std::{net::SocketAddr, str::FromStr};

use coracle_core::{
    crypto::RustCrypto,
    id::PeerId,
    limits::MAX_HINTS,
    node::Config,
    record::Record,
    wire::multiaddr::{Host, Multiaddr, Transport},
};

use super::error::CliError;

/// A peer and where it may be.
#[derive(Clone, Debug)]
pub(super) struct PeerHint {
    text: String,
    peer: PeerId,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// Addresses as they are.
    Addresses(Vec<SocketAddr>),
    /// A name to resolve when the node starts.
    Name(String, u16),
    /// A signed record: it may be newer than any we have.
    Record(Box<Record>),
}

const FORMS: &str =
    "expected PEER_ID@HOST:PORT, /ip4/ADDRESS/tcp/PORT/p2p/PEER_ID, or an ENR with an address";

impl FromStr for PeerHint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (peer, place) = if text.starts_with("enr:") {
            from_record(text)?
        } else if text.starts_with('/') {
            from_multiaddr(text)?
        } else {
            from_pair(text)?
        };
        Ok(Self { text: text.to_owned(), peer, place })
    }
}

fn from_record(text: &str) -> Result<(PeerId, Place), String> {
    let record = Record::from_text(text, &RustCrypto).map_err(|error| error.to_string())?;
    if record.tcp_endpoints().next().is_none() {
        return Err("the ENR has no TCP address".to_owned());
    }
    Ok((record.peer_id(), Place::Record(Box::new(record))))
}

fn from_multiaddr(text: &str) -> Result<(PeerId, Place), String> {
    let multiaddr: Multiaddr = text.parse().map_err(|error| format!("{error}; {FORMS}"))?;
    let Some(peer) = multiaddr.peer else {
        return Err("the multiaddr does not end in /p2p/PEER_ID".to_owned());
    };
    let Transport::Tcp(port) = multiaddr.transport else {
        return Err("channels run over TCP, and the multiaddr names another transport".to_owned());
    };
    let place = match multiaddr.host {
        Host::Ip(ip) => Place::Addresses(vec![SocketAddr::new(ip, port)]),
        Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name) => Place::Name(name.as_str().to_owned(), port),
    };
    Ok((peer, place))
}

fn from_pair(text: &str) -> Result<(PeerId, Place), String> {
    let (peer, place) = text.split_once('@').ok_or(FORMS)?;
    let peer = peer.parse().map_err(|error| format!("{error}; {FORMS}"))?;
    if let Ok(address) = place.parse() {
        return Ok((peer, Place::Addresses(vec![address])));
    }
    let (name, port) = place.rsplit_once(':').ok_or(FORMS)?;
    let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
    if name.is_empty() {
        return Err(FORMS.to_owned());
    }
    Ok((peer, Place::Name(name.to_owned(), port)))
}

impl PeerHint {
    /// The record, if the hint is one.
    pub(super) fn record(&self) -> Option<&Record> {
        match &self.place {
            Place::Record(record) => Some(record),
            _ => None,
        }
    }

    /// Puts the hint into the configuration, resolving a name first. Returns a note on addresses of a
    /// name for which there is no room: unlike those that the operator gave, they are nobody's mistake.
    pub(super) async fn apply(&self, config: &mut Config) -> Result<Option<String>, CliError> {
        if config.lock_record.as_ref().is_some_and(|own| own.peer_id() == self.peer) {
            return Err(CliError::usage(
                format!("--peer {}: {} is this node itself", self.text, self.peer),
                "name other operators only; --external-ip tells them where this node is",
            ));
        }
        let member = config
            .members
            .iter_mut()
            .find(|member| PeerId::from_public_key(&member.public_key) == self.peer)
            .ok_or_else(|| {
                CliError::failed(
                    format!("--peer {}: {} is no operator of this cluster", self.text, self.peer),
                    "`coracle lock show` lists the operators' peer ids",
                )
            })?;
        let left_out = match &self.place {
            Place::Addresses(addresses) => add(&mut member.hints, addresses.iter().copied()),
            Place::Record(record) => {
                // As everywhere: only a higher number replaces what is known.
                if member.stored_record.as_ref().is_none_or(|stored| stored.seq() < record.seq()) {
                    member.stored_record = Some((**record).clone());
                }
                add(&mut member.hints, record.tcp_endpoints())
            }
            Place::Name(name, port) => {
                let found = tokio::net::lookup_host((name.as_str(), *port)).await.map_err(|error| {
                    CliError::failed(
                        format!("--peer {}: cannot resolve {name}: {error}", self.text),
                        "check the name, or give an IP address",
                    )
                })?;
                let left_out = add(&mut member.hints, found);
                return Ok((left_out > 0).then(|| {
                    let most = at_most();
                    format!("--peer {}: {left_out} addresses of {name} are left out: {most}", self.text)
                }));
            }
        };
        if left_out > 0 {
            return Err(CliError::usage(
                format!("--peer {}: {} has more addresses than are used", self.text, self.peer),
                format!("leave some out: {}", at_most()),
            ));
        }
        Ok(None)
    }
}

/// Why there is no room.
fn at_most() -> String {
    format!("at most {MAX_HINTS} addresses of one operator are used")
}

/// Adds the addresses that are not there yet; returns how many did not fit.
fn add(hints: &mut Vec<SocketAddr>, addresses: impl Iterator<Item = SocketAddr>) -> usize {
    let mut left_out = 0;
    for address in addresses {
        if hints.contains(&address) {
            continue;
        }
        if hints.len() < MAX_HINTS { hints.push(address) } else { left_out += 1 }
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "16Uiu2HAmPLe7Mzm8TsYUubgCAW1aJoeFScxrLj8ppHFivPo97bUZ";

    #[test]
    fn all_forms_are_read() {
        for text in [
            format!("{PEER}@10.0.0.1:3610"),
            format!("{PEER}@[::1]:3610"),
            format!("{PEER}@relay.example:3610"),
            format!("/ip4/10.0.0.1/tcp/3610/p2p/{PEER}"),
            format!("/dns/relay.example/tcp/3610/p2p/{PEER}"),
        ] {
            let hint: PeerHint = text.parse().unwrap();
            assert_eq!(hint.peer.to_string(), PEER, "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused_with_a_reason() {
        for text in ["", "10.0.0.1:3610", "x@10.0.0.1:1", "/ip4/1.2.3.4/tcp/1", "enr:-AA", "@", "@:"] {
            assert!(text.parse::<PeerHint>().is_err(), "{text}");
        }
        let udp = format!("/ip4/10.0.0.1/udp/3610/p2p/{PEER}");
        assert!(udp.parse::<PeerHint>().unwrap_err().contains("TCP"));
        assert!(format!("{PEER}@host:99999").parse::<PeerHint>().unwrap_err().contains("port"));
    }
}
