//! Two nodes in memory: every order of the events of a simultaneous dial, and channels that die silently.

use std::{collections::BTreeSet, net::SocketAddr, println, vec, vec::Vec};

use super::*;
use crate::{
    limits::{DOUBT_TIMEOUT, GIVE_WAY_TIMEOUT, PING_TIMEOUT},
    node::conns::Conn,
    record::Addresses,
    testing::Cheap,
};

/// One TCP connection.
struct Link {
    dialler: usize,
    names: [Option<ConnId>; 2],
    connected: bool,
    /// Ends that are closed, by their node.
    closed: [bool; 2],
    /// Bytes on the way to a node, and bytes there that it has not taken.
    to: [Vec<u8>; 2],
    held: [Vec<u8>; 2],
}

/// What the network may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// The dial succeeds.
    Connect(usize),
    /// All bytes under way arrive (with the first of them the connection itself).
    Deliver(usize, usize),
    /// The other side's end arrives.
    Close(usize, usize),
}

struct World {
    nodes: [Node<Cheap>; 2],
    now: Instant,
    links: Vec<Link>,
    deadlines: [Option<Instant>; 2],
    notices: [Vec<Notice>; 2],
    streams: [Vec<StreamEvent>; 2],
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + node as u8], 3610))
}

impl World {
    /// Nodes 1 and 2 of a cluster of two, each of which has the other's address if `hints` says so.
    fn new(crypto: &Cheap, hints: [bool; 2]) -> Self {
        Self::with_endpoints(crypto, hints.map(u16::from))
    }

    /// The same, where each has so many endpoints of the other, all of which lead there.
    fn with_endpoints(crypto: &Cheap, endpoints: [u16; 2]) -> Self {
        let nodes = [0, 1].map(|own| {
            let mut members: Vec<MemberConfig> =
                (1..=2).map(|n| MemberConfig::new(crypto.public_key(&key(n)))).collect();
            for port in 0..endpoints[own] {
                members[1 - own].hints.push(SocketAddr::new(address(1 - own).ip(), 3610 + port));
            }
            let mut config = Config::new(key(1 + own as u8), Seed::new([own as u8; 32]), members);
            // Discovery has no part in this, and small pools make thousands of nodes cheap.
            let (nodes, sessions, challenges, requests, talks) = (8, 8, 8, 8, 1);
            let discovery = discovery::Config::default();
            config.discovery =
                Some(discovery::Config { nodes, sessions, challenges, requests, talks, ..discovery });
            config.bound = Bound { udp4: Some(3630), tcp4: Some(3610), ..Bound::default() };
            config.protocols = vec!["/test/1".into()];
            config.streams = 16;
            Node::with_crypto(Instant::ZERO, config, crypto.clone()).unwrap()
        });
        let mut world = Self {
            nodes,
            now: Instant::ZERO,
            links: Vec::new(),
            deadlines: [None; 2],
            notices: [Vec::new(), Vec::new()],
            streams: [Vec::new(), Vec::new()],
        };
        (0..2).for_each(|n| world.act(n));
        world
    }

    fn act(&mut self, n: usize) {
        let mut buf = [0; MIN_BUFFER];
        loop {
            let node = &mut self.nodes[n];
            match node.poll(self.now, &mut buf) {
                Action::Store { id, .. } => node.handle_event(self.now, Event::Stored(id)),
                Action::Dial { conn, to } => {
                    assert_eq!(to.ip(), address(1 - n).ip());
                    let mut names = [None; 2];
                    names[n] = Some(conn);
                    self.links.push(Link {
                        dialler: n,
                        names,
                        connected: false,
                        closed: [false; 2],
                        to: [Vec::new(), Vec::new()],
                        held: [Vec::new(), Vec::new()],
                    });
                }
                Action::Write { conn, len } => {
                    node.handle_event(self.now, Event::Writable(conn));
                    let link = self.links.iter_mut().find(|link| link.names[n] == Some(conn)).unwrap();
                    assert!(!link.closed[n]);
                    link.to[1 - n].extend_from_slice(&buf[..len]);
                }
                Action::Close { conn } => {
                    let link = self.links.iter_mut().find(|link| link.names[n] == Some(conn)).unwrap();
                    link.closed[n] = true;
                }
                Action::Resume { conn } => {
                    let link = self.links.iter().position(|link| link.names[n] == Some(conn)).unwrap();
                    self.offer(link, n);
                }
                Action::Notify(notice) => self.notices[n].push(notice),
                Action::Stream(event) => self.streams[n].push(event),
                // Discovery gets no packet through, and there is no name.
                Action::Send { .. } | Action::Resolve { .. } => {}
                Action::Wait(deadline) => {
                    self.deadlines[n] = deadline;
                    return;
                }
            }
        }
    }

    fn offer(&mut self, link: usize, n: usize) {
        let link = &mut self.links[link];
        let taken = self.nodes[n].handle_bytes(self.now, link.names[n].unwrap(), &mut link.held[n]);
        link.held[n].drain(..taken);
    }

    /// All that may happen next.
    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (i, link) in self.links.iter().enumerate() {
            if !link.connected && !link.closed[link.dialler] {
                moves.push(Move::Connect(i));
            }
            for n in 0..2 {
                if link.closed[n] || (n == link.dialler && !link.connected) {
                    continue;
                }
                if !link.to[n].is_empty() {
                    moves.push(Move::Deliver(i, n));
                } else if link.closed[1 - n] && link.names[n].is_some() {
                    moves.push(Move::Close(i, n));
                }
            }
        }
        moves
    }

    /// The node that sees a move.
    fn who(&self, step: Move) -> usize {
        match step {
            Move::Connect(i) => self.links[i].dialler,
            Move::Deliver(_, n) | Move::Close(_, n) => n,
        }
    }

    fn step(&mut self, step: Move) {
        let n = self.who(step);
        let now = self.now;
        match step {
            Move::Connect(i) => {
                self.links[i].connected = true;
                self.nodes[n].handle_event(now, Event::Connected(self.links[i].names[n].unwrap()));
            }
            Move::Deliver(i, _) => {
                let link = &mut self.links[i];
                if link.names[n].is_none() {
                    let from = SocketAddr::new(address(1 - n).ip(), 40_000);
                    link.names[n] = Some(self.nodes[n].accept(now, from));
                    self.act(n);
                }
                let link = &mut self.links[i];
                let bytes = core::mem::take(&mut link.to[n]);
                link.held[n].extend(bytes);
                self.offer(i, n);
            }
            Move::Close(i, _) => {
                self.links[i].closed[n] = true;
                self.nodes[n].handle_event(now, Event::Closed(self.links[i].names[n].unwrap()));
            }
        }
        self.act(n);
    }

    /// Lets everything arrive that is under way.
    fn settle(&mut self) {
        while let Some(step) = self.moves().first().copied() {
            self.step(step);
        }
    }

    /// Goes to the next moment that anybody waits for; nothing arrives meanwhile.
    fn tick(&mut self) {
        self.now = self.deadlines.iter().flatten().copied().min().unwrap();
        for n in 0..2 {
            self.nodes[n].handle_timeout(self.now);
            self.act(n);
        }
    }

    fn open(&mut self, n: usize) -> StreamId {
        let peer = self.nodes[1 - n].identity().peer_id();
        let stream = self.nodes[n].open_stream(self.now, peer, ProtocolId(0)).unwrap();
        self.act(n);
        stream
    }

    fn view(&self, n: usize) -> MemberView<'_> {
        self.nodes[n].members().next().unwrap()
    }

    /// The link that both use, when it is the only one that either has.
    fn only_link(&self) -> Option<usize> {
        let used = [0, 1].map(|n| {
            let view = self.view(n);
            let conn = view.channel.filter(|_| view.channels == 1)?.conn;
            self.links.iter().position(|link| link.names[n] == Some(conn))
        });
        used[0].filter(|_| used[0] == used[1])
    }

    fn was_alone(&self) -> bool {
        let lost = |notice: &Notice| matches!(notice, Notice::ChannelDown { still_connected: false, .. });
        self.notices.iter().flatten().any(lost)
    }
}

/// What each of the two nodes has seen: all that its state depends on.
type History = [Vec<Move>; 2];

/// Rule C4, for every order in which the network can bring what two nodes that dial each other say: two
/// orders that show both nodes the same are one.
#[test]
fn every_interleaving_of_two_dials_ends_in_one_channel() {
    let crypto = Cheap::default();
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    let key = |history: &History| -> Vec<u8> {
        let code = |step: &Move| match *step {
            Move::Connect(i) => i as u8,
            Move::Deliver(i, _) => 16 + i as u8,
            Move::Close(i, _) => 32 + i as u8,
        };
        history[0].iter().map(code).chain([255]).chain(history[1].iter().map(code)).collect()
    };
    let (mut todo, mut ends, mut kept) = (vec![Vec::<Move>::new()], 0, [0, 0]);
    while let Some(path) = todo.pop() {
        let mut world = World::new(&crypto, [true, true]);
        let mut history = History::default();
        let mut path = path;
        for step in &path {
            history[world.who(*step)].push(*step);
            world.step(*step);
        }
        loop {
            let moves = world.moves();
            if moves.is_empty() {
                ends += 1;
                let link = world.only_link();
                assert!(link.is_some(), "{path:?}: {:?}", world.notices);
                kept[world.links[link.unwrap()].dialler] += 1;
                assert!(!world.was_alone(), "{path:?}: {:?}", world.notices);
                break;
            }
            let mut next = None;
            for step in moves {
                let n = world.who(step);
                history[n].push(step);
                if seen.insert(key(&history)) {
                    match next {
                        None => next = Some(step),
                        Some(_) => todo.push(path.iter().copied().chain([step]).collect()),
                    }
                }
                history[n].pop();
            }
            let Some(step) = next else { break };
            history[world.who(step)].push(step);
            path.push(step);
            world.step(step);
        }
    }
    println!(
        "{} states, {ends} ends; the first node's dial stayed {} times, the second's {}",
        seen.len(),
        kept[0],
        kept[1]
    );
    // Both kinds of end are there: one dial so late that the other's channel was there, and both at once.
    assert!(ends > 10 && kept.iter().all(|n| *n > 0), "{ends} {kept:?}");
}

/// The same where each dials several endpoints of the other, a moment apart, in orders drawn at random: of three
/// connections from one side the other must not close the one that the first keeps (`operators-10:17`).
#[test]
fn several_dials_at_once_end_in_one_channel() {
    let crypto = Cheap::default();
    let mut most = 0;
    for seed in 0..400_u32 {
        let mut rng = Seed::new([seed as u8 ^ 0x55; 32]).stream("orders");
        let mut draw = |n: usize| {
            let mut bytes = [0; 4];
            rng.fill(&mut bytes);
            (u32::from_le_bytes(bytes) ^ seed) as usize % n
        };
        let mut world = World::with_endpoints(&crypto, [1 + draw(4) as u16, 1 + draw(4) as u16]);
        // Moments at which the next of them is dialled.
        let mut ticks = 8;
        loop {
            let moves = world.moves();
            if ticks > 0 && (moves.is_empty() || draw(4) == 0) {
                ticks -= 1;
                if world.deadlines.iter().flatten().any(|at| at.since(world.now) < Duration::from_secs(1)) {
                    world.tick();
                }
            } else if moves.is_empty() {
                break;
            } else {
                let step = moves[draw(moves.len())];
                world.step(step);
            }
        }
        most = most.max(world.links.len());
        assert!(world.only_link().is_some() && !world.was_alone(), "seed {seed}: {:?}", world.notices);
    }
    assert!(most >= 6, "{most} connections at a time");
}

/// A connected pair, the first of which dialled the second.
fn connected() -> World {
    let mut world = World::new(&Cheap::default(), [true, false]);
    world.settle();
    assert!(world.only_link().is_some());
    world
}

/// How long until a node has told of the end of its channel, while nothing arrives.
fn until_down(world: &mut World, n: usize) -> (Duration, Failure) {
    let start = world.now;
    loop {
        let down = world.notices[n].iter().find_map(|notice| match notice {
            Notice::ChannelDown { reason, still_connected: false, .. } => Some(*reason),
            _ => None,
        });
        if let Some(reason) = down {
            return (world.now.since(start), reason);
        }
        world.tick();
    }
}

/// The cable is pulled: no FIN, no RST. Both sides notice by their pings, and dial again.
#[test]
fn a_half_open_connection_is_noticed_by_both() {
    for n in 0..2 {
        let mut world = connected();
        let (took, reason) = until_down(&mut world, n);
        assert_eq!(reason, Failure::Channel(crate::channel::CloseReason::PingTimeout));
        assert!(took <= world.nodes[n].ping_interval + PING_TIMEOUT, "{took:?}");
    }
    let mut world = connected();
    until_down(&mut world, 0);
    until_down(&mut world, 1);
    let before = world.links.len();
    while world.links.len() == before {
        world.tick();
    }
    world.settle();
    assert!(world.only_link().is_some_and(|link| link >= before), "it is connected again");
}

/// A newer record with another address makes a channel prove itself, sooner than its next ping would.
#[test]
fn a_member_that_is_elsewhere_now_is_dialled_there_soon() {
    for answers in [true, false] {
        let mut world = connected();
        let link = world.only_link().unwrap();
        let identity = Identity::new(RustCrypto, key(2));
        let moved = Addresses { ip4: Some([10, 0, 0, 2].into()), tcp4: Some(3610), ..Addresses::default() };
        let mut members: Vec<MemberConfig> =
            (1..=2).map(|n| MemberConfig::new(RustCrypto.public_key(&key(n)))).collect();
        members[1].stored_record =
            Some(Builder::new().set_addresses(&moved).unwrap().sign(7, &identity).unwrap());
        for seq in [7, 8] {
            // The first record is news, but moves nobody.
            world.nodes[0].request(world.now, Command::SetMembers(members.clone())).unwrap();
            world.act(0);
            let elsewhere = Addresses { tcp4: Some(3611), ..moved };
            let record = Builder::new().set_addresses(&elsewhere).unwrap().sign(seq + 1, &identity).unwrap();
            members[1].stored_record = Some(record);
        }
        if answers {
            world.settle();
            world.now = world.now + DOUBT_TIMEOUT;
            world.nodes[0].handle_timeout(world.now);
            world.act(0);
            assert_eq!((world.only_link(), world.was_alone()), (Some(link), false));
        } else {
            assert_eq!(until_down(&mut world, 0), (DOUBT_TIMEOUT, Failure::Timeout));
        }
    }
}

/// Both have dialled, and the dial of the smaller peer id was the first to be a channel; the other follows.
/// Returns the smaller, and the link that stays. A stream of the embedder's was opened meanwhile on the one
/// that does not, by the smaller node if `by_smaller` says so.
fn in_use_while_it_gives_way(by_smaller: bool) -> (World, usize, usize, StreamId) {
    let mut world = World::new(&Cheap::default(), [true, true]);
    let smaller = usize::from(world.nodes[0].identity().peer_id() > world.nodes[1].identity().peer_id());
    let link_of = |world: &World, n| world.links.iter().position(|link| link.dialler == n).unwrap();
    let (first, second) = (link_of(&world, smaller), link_of(&world, 1 - smaller));
    let on = |world: &World, link| {
        let of = |step: &Move| matches!(*step, Move::Connect(i) | Move::Deliver(i, _) if i == link);
        world.moves().into_iter().find(of)
    };
    // The larger one's dial is through its handshake there, so that it is no mere attempt.
    while !world.nodes[1 - smaller].conns.iter().any(Conn::is_channel) {
        let step = on(&world, second).unwrap();
        world.step(step);
    }
    while let Some(step) = on(&world, first) {
        world.step(step);
    }
    let (opener, other) = if by_smaller { (smaller, 1 - smaller) } else { (1 - smaller, smaller) };
    let stream = world.open(opener);
    assert_eq!(Some(stream.conn()), world.links[first].names[opener]);
    while let Some(step) = on(&world, first) {
        world.step(step);
    }
    assert!(world.streams[opener].contains(&StreamEvent::Opened { stream }));
    assert!(matches!(world.streams[other][..], [StreamEvent::Accepted { .. }]));
    world.settle();
    assert_eq!([0, 1].map(|n| world.view(n).channels), [2, 2], "the stream is in use");
    // What is opened now is opened on the one that stays.
    for n in 0..2 {
        let stream = world.open(n);
        assert_eq!(Some(stream.conn()), world.links[second].names[n]);
    }
    world.settle();
    let lost = |event: &StreamEvent| matches!(event, StreamEvent::ConnectionLost { .. });
    assert!(!world.streams.iter().flatten().any(lost));
    (world, smaller, second, stream)
}

#[test]
fn streams_of_a_channel_that_gives_way_may_end_first() {
    for by_smaller in [true, false] {
        let (mut world, smaller, stays, stream) = in_use_while_it_gives_way(by_smaller);
        let opener = if by_smaller { smaller } else { 1 - smaller };
        world.nodes[opener].reset_stream(stream);
        world.act(opener);
        world.settle();
        assert_eq!((world.only_link(), world.was_alone()), (Some(stays), false));
    }
}

#[test]
fn streams_of_a_channel_that_gives_way_have_no_more_than_their_time() {
    let (mut world, smaller, stays, _) = in_use_while_it_gives_way(true);
    let start = world.now;
    while world.only_link().is_none() {
        world.tick();
        world.settle();
    }
    assert_eq!((world.only_link(), world.was_alone()), (Some(stays), false));
    assert_eq!(world.now.since(start), GIVE_WAY_TIMEOUT);
    let told =
        |n: usize| world.streams[n].iter().any(|event| matches!(event, StreamEvent::ConnectionLost { .. }));
    assert!(told(smaller) && told(1 - smaller));
}

/// The one that would stay dies: the other is in use as before.
#[test]
fn a_channel_gives_way_to_none_that_has_ended() {
    let (mut world, smaller, ends, stream) = in_use_while_it_gives_way(true);
    for n in 0..2 {
        let conn = world.links[ends].names[n].unwrap();
        world.links[ends].closed[n] = true;
        world.nodes[n].handle_event(world.now, Event::Closed(conn));
        world.act(n);
    }
    let start = world.now;
    while world.now.since(start) < GIVE_WAY_TIMEOUT {
        world.tick();
        world.settle();
    }
    assert!(world.only_link().is_some_and(|link| link != ends));
    assert!(!world.was_alone());
    let opened = world.open(smaller);
    assert_eq!(opened.conn(), stream.conn());
}
