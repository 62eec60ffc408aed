//! `--peer`: where an operator may be, in any of the forms that operators exchange.

use std::{net::SocketAddr, str::FromStr};

use coracle_core::{
    crypto::RustCrypto,
    id::PeerId,
    limits::{MAX_ADDRESSES, MAX_HINTS},
    node::Config,
    record::Record,
    wire::multiaddr::{Host, Multiaddr, Transport},
};

use super::error::CliError;

/// Where a peer may be, and whose address that is, if it is known.
#[derive(Clone, Debug)]
pub(super) struct PeerHint {
    text: String,
    peer: Option<PeerId>,
    place: Place,
}

/// A name that stands for a peer's address: looked up again and again while the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HintName {
    pub(super) peer: Option<PeerId>,
    pub(super) name: String,
    pub(super) port: u16,
}

#[derive(Clone, Debug)]
enum Place {
    /// Addresses as they are.
    Addresses(Vec<SocketAddr>),
    /// A name to resolve when the node starts, and later.
    Name(String, u16),
    /// A signed record: it may be newer than any we have.
    Record(Box<Record>),
}

const FORMS: &str =
    "expected PEER_ID@HOST:PORT, HOST:PORT, /ip4/ADDRESS/tcp/PORT/p2p/PEER_ID, or an ENR with an address";

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

fn from_record(text: &str) -> Result<(Option<PeerId>, Place), String> {
    let record = Record::from_text(text, &RustCrypto).map_err(|error| error.to_string())?;
    if record.tcp_endpoints().next().is_none() {
        return Err("the ENR has no TCP address".to_owned());
    }
    Ok((Some(record.peer_id()), Place::Record(Box::new(record))))
}

fn from_multiaddr(text: &str) -> Result<(Option<PeerId>, Place), String> {
    let multiaddr: Multiaddr = text.parse().map_err(|error| format!("{error}; {FORMS}"))?;
    let Transport::Tcp(port) = multiaddr.transport else {
        return Err("channels run over TCP, and the multiaddr names another transport".to_owned());
    };
    let place = match multiaddr.host {
        Host::Ip(ip) => Place::Addresses(vec![SocketAddr::new(ip, port)]),
        Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name) => Place::Name(name.as_str().to_owned(), port),
    };
    Ok((multiaddr.peer, place))
}

fn from_pair(text: &str) -> Result<(Option<PeerId>, Place), String> {
    let (peer, place) = match text.split_once('@') {
        Some((peer, place)) => (Some(peer.parse().map_err(|error| format!("{error}; {FORMS}"))?), place),
        None => (None, text),
    };
    if let Ok(address) = place.parse() {
        return Ok((peer, Place::Addresses(vec![address])));
    }
    let (name, port) = place.rsplit_once(':').ok_or(FORMS)?;
    let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c == '/' || c == ':') {
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

    /// The name, if the hint has one.
    pub(super) fn name(&self) -> Option<HintName> {
        match &self.place {
            Place::Name(name, port) => Some(HintName { peer: self.peer, name: name.clone(), port: *port }),
            _ => None,
        }
    }

    /// Puts the hint into the configuration, resolving a name first. Returns a note on a name that does
    /// not resolve now, or on addresses of it for which there is no room: unlike those that the operator
    /// gave, they are nobody's mistake.
    pub(super) async fn apply(&self, config: &mut Config) -> Result<Option<String>, CliError> {
        let Some(peer) = self.peer else {
            return self.apply_for_anyone(config).await;
        };
        if config.lock_record.as_ref().is_some_and(|own| own.peer_id() == peer) {
            return Err(CliError::usage(
                format!("--peer {}: {peer} is this node itself", self.text),
                "name other operators only; --external-ip tells them where this node is",
            ));
        }
        let member = config
            .members
            .iter_mut()
            .find(|member| PeerId::from_public_key(&member.public_key) == peer)
            .ok_or_else(|| {
                CliError::failed(
                    format!("--peer {}: {peer} is no operator of this cluster", self.text),
                    "`coracle lock show` lists the operators' peer ids",
                )
            })?;
        let left_out = match &self.place {
            Place::Addresses(addresses) => add(&mut member.hints, MAX_HINTS, addresses.iter().copied()),
            Place::Record(record) => {
                // As everywhere: only a higher number replaces what is known.
                if member.stored_record.as_ref().is_none_or(|stored| stored.seq() < record.seq()) {
                    member.stored_record = Some((**record).clone());
                }
                add(&mut member.hints, MAX_HINTS, record.tcp_endpoints())
            }
            Place::Name(name, port) => {
                return Ok(self.resolve(&mut member.hints, MAX_HINTS, name, *port).await);
            }
        };
        self.refuse_rest(left_out, &format!("at most {MAX_HINTS} addresses of one operator are used"))
    }

    /// The same for an address of which nobody said whose it is.
    async fn apply_for_anyone(&self, config: &mut Config) -> Result<Option<String>, CliError> {
        let left_out = match &self.place {
            Place::Addresses(addresses) => {
                add(&mut config.addresses, MAX_ADDRESSES, addresses.iter().copied())
            }
            Place::Name(name, port) => {
                return Ok(self.resolve(&mut config.addresses, MAX_ADDRESSES, name, *port).await);
            }
            // A record says whose it is.
            Place::Record(_) => 0,
        };
        self.refuse_rest(left_out, &format!("at most {MAX_ADDRESSES} addresses without a peer id are used"))
    }

    async fn resolve(
        &self,
        hints: &mut Vec<SocketAddr>,
        most: usize,
        name: &str,
        port: u16,
    ) -> Option<String> {
        match tokio::net::lookup_host((name, port)).await {
            Ok(found) => {
                let left_out = add(hints, most, found);
                (left_out > 0).then(|| {
                    format!(
                        "--peer {}: {left_out} addresses of {name} are left out: {most} are used",
                        self.text
                    )
                })
            }
            // A resolver that is down must not keep a node from starting.
            Err(error) => {
                Some(format!("--peer {}: cannot resolve {name} now: {error}; it is tried again", self.text))
            }
        }
    }

    fn refuse_rest(&self, left_out: usize, most: &str) -> Result<Option<String>, CliError> {
        if left_out > 0 {
            return Err(CliError::usage(
                format!("--peer {}: there are more addresses than are used", self.text),
                format!("leave some out: {most}"),
            ));
        }
        Ok(None)
    }
}

/// Adds the addresses that are not there yet, up to `most`; returns how many did not fit.
fn add(hints: &mut Vec<SocketAddr>, most: usize, addresses: impl Iterator<Item = SocketAddr>) -> usize {
    let mut left_out = 0;
    for address in addresses {
        if hints.contains(&address) {
            continue;
        }
        if hints.len() < most { hints.push(address) } else { left_out += 1 }
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
            assert_eq!(hint.peer.unwrap().to_string(), PEER, "{text}");
        }
        for text in ["10.0.0.1:3610", "[::1]:3610", "relay.example:3610", "/ip4/10.0.0.1/tcp/3610"] {
            let hint: PeerHint = text.parse().unwrap();
            assert_eq!(hint.peer, None, "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused_with_a_reason() {
        for text in ["", "10.0.0.1", "x@10.0.0.1:1", "/ip4/1.2.3.4", "enr:-AA", "@", "@:", ":1", "a b:1"] {
            assert!(text.parse::<PeerHint>().is_err(), "{text}");
        }
        let udp = format!("/ip4/10.0.0.1/udp/3610/p2p/{PEER}");
        assert!(udp.parse::<PeerHint>().unwrap_err().contains("TCP"));
        assert!(format!("{PEER}@host:99999").parse::<PeerHint>().unwrap_err().contains("port"));
    }
}
