//! `/ipfs/id/1.0.0` and `/ipfs/id/push/1.0.0` (libp2p identify): what each side says of itself.
//!
//! Several messages are merged by the end of the stream. Of the peer's word is kept what agent it is;
//! the address at which it sees us is a vote like a PONG's, though never for a port, which may be a
//! connection's own. Its protocols are learned by asking for them, and its addresses by its record.

use super::{
    super::{Node, Text},
    Unwanted, delimit,
};
use crate::{
    cluster::MemberIndex,
    crypto::Crypto,
    limits::MAX_SERVICE_MESSAGE,
    node::action::ConnId,
    time::Instant,
    wire::{
        multiaddr::{Host, MAX_BINARY, Multiaddr},
        protobuf::{Field, Value, Writer},
    },
};

const PUBLIC_KEY: u32 = 1;
const LISTEN_ADDRS: u32 = 2;
const PROTOCOLS: u32 = 3;
const OBSERVED_ADDR: u32 = 4;
const PROTOCOL_VERSION: u32 = 5;
const AGENT_VERSION: u32 = 6;

/// What we are.
const AGENT: &str = concat!("coracle/", env!("CARGO_PKG_VERSION"));
/// The family of protocols.
const FAMILY: &str = "coracle/1.0.0";
/// secp256k1 and a compressed key, as libp2p writes it.
const KEY_HEADER: [u8; 4] = [8, 2, 18, 33];

impl<C: Crypto> Node<C> {
    /// What we say to the peer at the other end of `conn`, with its length before it.
    pub(super) fn write_identify(&mut self, conn: ConnId, out: &mut [u8]) -> Option<usize> {
        let remote = self.conns.find(conn)?.remote;
        let mut key = [0; 37];
        key[..4].copy_from_slice(&KEY_HEADER);
        key[4..].copy_from_slice(self.identity.peer_id().compressed_key());
        delimit(out, |out| {
            let mut writer = Writer::new(out.get_mut(..MAX_SERVICE_MESSAGE)?);
            writer.bytes(PUBLIC_KEY, &key);
            let mut address = [0; MAX_BINARY];
            for endpoint in self.local.current().into_iter().flat_map(|record| record.tcp_endpoints()) {
                let len = Multiaddr::tcp(endpoint).write(&mut address)?;
                writer.bytes(LISTEN_ADDRS, address.get(..len)?);
            }
            writer.bytes(PROTOCOLS, crate::channel::PING_NAME);
            for name in self.channel_config.protocols.names() {
                writer.bytes(PROTOCOLS, name);
            }
            let len = Multiaddr::tcp(remote).write(&mut address)?;
            writer.bytes(OBSERVED_ADDR, address.get(..len)?);
            writer.bytes(PROTOCOL_VERSION, FAMILY.as_bytes());
            writer.bytes(AGENT_VERSION, AGENT.as_bytes());
            writer.finish()
        })
    }

    pub(super) fn read_identify(
        &mut self,
        now: Instant,
        member: MemberIndex,
        field: Field<'_>,
    ) -> Result<(), Unwanted> {
        match (field.number, field.value) {
            (AGENT_VERSION, Value::Bytes(text)) => {
                if let Some(peer) = self.services.peers.get_mut(member.position()) {
                    peer.agent = Text::printable(text);
                }
                Ok(())
            }
            (OBSERVED_ADDR, Value::Bytes(bytes)) => {
                // An address of another kind (a relay's, say) says nothing of ours.
                if let Ok(Multiaddr { host: Host::Ip(ip), .. }) = Multiaddr::from_bytes(bytes) {
                    let from = self.cluster.member(member).node_id();
                    self.voted_address(now, from, ip.to_canonical());
                }
                Ok(())
            }
            (PUBLIC_KEY, Value::Bytes(key)) => {
                // It proved its key in the handshake: another one here is a mistake of its own.
                let own = *self.cluster.member(member).peer_id().compressed_key();
                let same = key.strip_prefix(&KEY_HEADER).is_some_and(|key| key == own);
                if same { Ok(()) } else { Err(Unwanted) }
            }
            (PUBLIC_KEY..=AGENT_VERSION, Value::Bytes(_)) => Ok(()),
            (PUBLIC_KEY..=AGENT_VERSION, _) => Err(Unwanted),
            _ => Ok(()),
        }
    }
}
