//! Read-only views of a node, for people and metrics. Reading them changes nothing.

use alloc::vec::Vec;
use core::{net::SocketAddr, time::Duration};

use super::{Node, action::ConnId, conns::Stage, services::PeerInfo, text::Text};
use crate::{
    cluster::{Member, Origin, Reachability},
    crypto::{Crypto, Identity},
    discovery::Discovery,
    id::{NodeId, PeerId},
    limits::MAX_AGENT,
    record::Record,
};

/// What was dropped or failed, by reason. Numbers only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that arrived before the own record was published, or after the end.
    pub datagrams_before_start: u64,
    /// Dials for which no connection slot was free.
    pub dials_without_room: u64,
    /// Accepted connections for which no slot was free.
    pub inbound_without_room: u64,
    /// Accepted connections that ended before they were a member's.
    pub inbound_refused: u64,
    /// Lookups of members for which discovery had no room.
    pub lookups_without_room: u64,
    /// Writes of members' entries that failed (they are tried again).
    pub peer_stores_failed: u64,
    /// Members' records with a known number and other content.
    pub record_conflicts: u64,
    /// Streams of members that were refused (an unknown protocol, or too many).
    pub streams_refused: u64,
    /// Records that members showed us and that are none, or were too many.
    pub records_refused: u64,
    /// Records of keys outside the cluster that members showed us.
    pub records_of_strangers: u64,
    /// Answers of members about themselves without a timestamp.
    pub peer_infos_refused: u64,
    /// Notices that found no room because the driver did not poll.
    pub notices_dropped: u64,
}

/// The channel of a member, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// The connection.
    pub conn: ConnId,
    /// The other end.
    pub endpoint: SocketAddr,
    /// How we knew where to dial, or [`Origin::Inbound`].
    pub origin: Origin,
    /// The last measured round-trip time.
    pub rtt: Option<Duration>,
}

/// A member, as it is now.
#[derive(Clone, Copy, Debug)]
pub struct MemberView<'a> {
    /// Its position in the cluster file, from 0.
    pub position: usize,
    /// Its libp2p peer id.
    pub peer_id: PeerId,
    /// Its discv5 node id.
    pub node_id: NodeId,
    /// Its newest record.
    pub record: Option<&'a Record>,
    /// Whether and why it can be reached.
    pub reachability: Reachability,
    /// What software it says it is (libp2p identify); empty until it said so.
    pub agent: &'a str,
    /// What it says of itself by Charon's peerinfo protocol.
    pub info: Option<&'a PeerInfo>,
    /// The channel in use.
    pub channel: Option<ChannelView>,
    /// Channels there are: two after a simultaneous dial with a peer that does not deduplicate.
    pub channels: usize,
}

/// An owned copy of a [`MemberView`], for other threads.
#[derive(Clone, Debug)]
pub struct MemberSnapshot {
    /// Its position in the cluster file, from 0.
    pub position: usize,
    /// Its libp2p peer id.
    pub peer_id: PeerId,
    /// Its newest record.
    pub record: Option<Record>,
    /// Whether and why it can be reached.
    pub reachability: Reachability,
    /// What software it says it is (libp2p identify); empty until it said so.
    pub agent: Text<MAX_AGENT>,
    /// What it says of itself by Charon's peerinfo protocol.
    pub info: Option<PeerInfo>,
    /// The channel in use.
    pub channel: Option<ChannelView>,
    /// Channels there are.
    pub channels: usize,
}

/// An owned copy of what there is to see of a node.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The own record in force.
    pub record: Option<Record>,
    /// All members but ourselves, in the cluster file's order.
    pub members: Vec<MemberSnapshot>,
    /// What was dropped or failed.
    pub counters: Counters,
}

impl<C: Crypto> Node<C> {
    /// The node's key and its names.
    pub const fn identity(&self) -> &Identity<C> {
        &self.identity
    }

    /// The own record in force; `None` before the first is published.
    pub fn record(&self) -> Option<&Record> {
        self.local.current()
    }

    /// All members but ourselves: in the cluster file's order, until members come and go.
    pub fn members(&self) -> impl Iterator<Item = MemberView<'_>> {
        self.cluster.members().map(|(index, member)| self.member_view(index, member))
    }

    /// The discovery machine, for its table and counters.
    pub const fn discovery(&self) -> &Discovery<C> {
        &self.discovery
    }

    /// What was dropped or failed.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the own record is published, so that the node dials and answers.
    pub const fn is_running(&self) -> bool {
        self.running && !self.shutting_down
    }

    /// Everything above as an owned copy. The one function of a running node that allocates: it
    /// is for people and metrics, and nothing in the node calls it.
    pub fn snapshot(&self) -> Snapshot {
        let members = self.members().map(|member| MemberSnapshot {
            position: member.position,
            peer_id: member.peer_id,
            record: member.record.cloned(),
            reachability: member.reachability,
            agent: Text::printable(member.agent.as_bytes()),
            info: member.info.cloned(),
            channel: member.channel,
            channels: member.channels,
        });
        let mut members: Vec<_> = members.collect();
        members.sort_by_key(|member| member.position);
        Snapshot { record: self.record().cloned(), members, counters: self.counters }
    }

    /// Connections in any state.
    pub fn connections(&self) -> usize {
        self.conns.iter().count()
    }

    /// Whether a member's entry is being stored, or is owed to the store. A driver that ends waits a
    /// moment for this to pass, or the newest entry may be lost.
    pub fn stores_pending(&self) -> bool {
        self.cluster.has_dirty() || self.peer_stores.iter().any(|store| store.in_flight.is_some())
    }

    fn member_view<'a>(&'a self, index: crate::cluster::MemberIndex, member: &'a Member) -> MemberView<'a> {
        let channels =
            || self.conns.iter().filter(|c| c.member == Some(index) && c.confirmed && c.is_channel());
        let channel = self.channel_in_use(index).map(|conn| ChannelView {
            conn: conn.id,
            endpoint: conn.remote,
            origin: conn.origin,
            rtt: match &conn.stage {
                Stage::Channel(channel) => channel.last_rtt(),
                _ => None,
            },
        });
        let known = self.services.peers.get(index.position());
        MemberView {
            position: member.position(),
            peer_id: member.peer_id(),
            node_id: member.node_id(),
            record: member.record(),
            reachability: member.reachability(),
            agent: known.map_or("", |peer| peer.agent.as_str()),
            info: known.and_then(|peer| peer.info.as_ref()),
            channel,
            channels: channels().count(),
        }
    }
}
