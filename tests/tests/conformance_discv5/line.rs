//! A scripted peer at an endpoint, in conversation with the node under test.

use std::net::SocketAddr;

use coracle_tests::raw_peer::{Accepted, HANDSHAKE, Message, Packet, RawPeer, Session, WHOAREYOU};

use crate::bench::Network;

/// What came from the node.
#[derive(Clone, Debug)]
pub(crate) enum Got {
    Challenge(Packet),
    Message(Message),
}

/// A peer at an endpoint. Challenges and requests of the node are served, but where a scenario takes the
/// packets itself.
pub(crate) struct Line {
    pub(crate) peer: RawPeer,
    pub(crate) at: SocketAddr,
    /// What it sends with.
    pub(crate) session: Option<Session>,
    /// Sessions before that: what is under way in them is still read.
    older: Vec<Session>,
    /// Records that it gives for FINDNODE, whatever the distance.
    pub(crate) knows: Vec<Vec<u8>>,
    /// How many PINGs of the node it answered.
    pub(crate) pinged: usize,
    /// The last challenge to the node.
    challenge: Option<Packet>,
    ids: u32,
}

impl Line {
    /// Peer `number` at an endpoint of host `number`, which its record does not name: so the node answers,
    /// and asks nothing of its own.
    pub(crate) fn new(net: &mut impl Network, number: u8) -> Self {
        let at = net.open(number);
        Self::at(number, at)
    }

    pub(crate) fn at(number: u8, at: SocketAddr) -> Self {
        let peer = RawPeer::new(number);
        Self {
            peer,
            at,
            session: None,
            older: Vec::new(),
            knows: Vec::new(),
            pinged: 0,
            challenge: None,
            ids: 0,
        }
    }

    /// The same with a record that names the endpoint.
    pub(crate) fn reachable(net: &mut impl Network, number: u8) -> Self {
        let mut line = Self::new(net, number);
        line.peer.set_record(1, Some(line.at));
        line
    }

    /// With a session, which this side began.
    pub(crate) fn established(net: &mut impl Network, number: u8) -> Self {
        let mut line = Self::new(net, number);
        line.ping(net);
        line
    }

    pub(crate) fn send(&self, net: &mut impl Network, packet: &Packet) {
        net.send(self.at, &packet.encode(&net.record().node_id().raw()));
    }

    /// The next packet, whatever it is.
    pub(crate) fn packet(&self, net: &mut impl Network) -> Packet {
        let bytes = net.recv(self.at);
        let bytes = bytes.unwrap_or_else(|| panic!("no packet to {}", self.at));
        assert!((63..=1280).contains(&bytes.len()), "{} bytes", bytes.len());
        let packet = Packet::decode(&self.peer.id(), &bytes).expect("a packet for this peer");
        assert_eq!((packet.protocol, packet.version), (*b"discv5", 1), "{packet:?}");
        packet
    }

    /// The next packet, which is a WHOAREYOU.
    pub(crate) fn challenged(&self, net: &mut impl Network) -> Packet {
        let packet = self.packet(net);
        assert_eq!(packet.flag, WHOAREYOU, "{packet:?}");
        assert_eq!((packet.authdata.len(), packet.message.len()), (24, 0), "{packet:?}");
        packet
    }

    /// The challenge that a packet which nobody can decrypt gets.
    pub(crate) fn ask_for_challenge(&mut self, net: &mut impl Network) -> Packet {
        let packet = self.peer.random_packet();
        self.send(net, &packet);
        let challenge = self.challenged(net);
        assert_eq!(challenge.nonce, packet.nonce);
        challenge
    }

    /// The next message or challenge. What does not decrypt is challenged, as the node would.
    pub(crate) fn got(&mut self, net: &mut impl Network) -> Got {
        loop {
            let packet = self.packet(net);
            match packet.flag {
                WHOAREYOU => return Got::Challenge(packet),
                HANDSHAKE => return Got::Message(self.accept(net, &packet).message),
                _ => {}
            }
            assert_eq!(packet.authdata, net.record().node_id().raw(), "src-id");
            if let Some(text) = self.open(&packet) {
                return Got::Message(Message::decode(&text).expect("a message"));
            }
            self.challenge(net, &packet, 0);
        }
    }

    /// Sends a WHOAREYOU for a packet of the node.
    pub(crate) fn challenge(&mut self, net: &mut impl Network, packet: &Packet, enr_seq: u64) -> Packet {
        let challenge = self.peer.challenge(packet.nonce, enr_seq);
        self.send(net, &challenge);
        self.challenge = Some(challenge.clone());
        challenge
    }

    /// Checks a handshake of the node and takes up its keys.
    pub(crate) fn accept(&mut self, net: &impl Network, packet: &Packet) -> Accepted {
        let challenge = self.challenge.take().expect("a challenge before the handshake");
        let accepted = self.peer.accept(&net.record(), &challenge, packet);
        self.take_up(accepted.session);
        accepted
    }

    /// Answers a challenge around `message`, and takes up the keys.
    pub(crate) fn answer_challenge(&mut self, net: &mut impl Network, challenge: &Packet, message: &Message) {
        let handshake = self.peer.handshake(&net.record(), challenge);
        let packet = self.peer.handshake_packet(&handshake, &message.encode());
        self.take_up(handshake.session);
        self.send(net, &packet);
    }

    fn take_up(&mut self, session: Session) {
        self.older.extend(self.session.replace(session));
    }

    /// Forgets all sessions, as a peer does that starts again.
    pub(crate) fn forget(&mut self) {
        self.session = None;
        self.older.clear();
    }

    /// Decrypts a packet in any session.
    pub(crate) fn open(&self, packet: &Packet) -> Option<Vec<u8>> {
        let mut sessions = self.session.iter().chain(self.older.iter().rev());
        sessions.find_map(|session| packet.open(&session.receive))
    }

    /// Sends a message in the session.
    pub(crate) fn say(&mut self, net: &mut impl Network, message: &Message) -> Packet {
        self.say_bytes(net, &message.encode())
    }

    pub(crate) fn say_bytes(&mut self, net: &mut impl Network, text: &[u8]) -> Packet {
        let session = self.session.expect("a session");
        let packet = self.peer.sealed(&session, text);
        self.send(net, &packet);
        packet
    }

    /// The next answer; requests before it are served.
    pub(crate) fn answer(&mut self, net: &mut impl Network) -> Message {
        loop {
            match self.got(net) {
                Got::Message(request) if request.is_request() => self.serve(net, &request),
                Got::Message(answer) => return answer,
                Got::Challenge(challenge) => panic!("a challenge instead of an answer: {challenge:?}"),
            }
        }
    }

    /// The next request.
    pub(crate) fn request(&mut self, net: &mut impl Network) -> Message {
        match self.got(net) {
            Got::Message(request) if request.is_request() => request,
            other => panic!("no request: {other:?}"),
        }
    }

    /// Asks, with a handshake when it must be, and returns the (first) answer.
    pub(crate) fn ask(&mut self, net: &mut impl Network, request: &Message) -> Message {
        let packet = match self.session {
            Some(session) => self.peer.sealed(&session, &request.encode()),
            None => self.peer.random_packet(),
        };
        self.send(net, &packet);
        loop {
            match self.got(net) {
                Got::Challenge(challenge) => {
                    assert_eq!(challenge.nonce, packet.nonce, "the challenge is for this packet");
                    self.answer_challenge(net, &challenge, request);
                }
                Got::Message(other) if other.is_request() => self.serve(net, &other),
                Got::Message(answer) => {
                    assert_eq!(answer.id(), request.id(), "{answer:?}");
                    return answer;
                }
            }
        }
    }

    pub(crate) fn next_id(&mut self) -> Vec<u8> {
        self.ids += 1;
        self.ids.to_be_bytes().to_vec()
    }

    /// A PING with a fresh request id.
    pub(crate) fn new_ping(&mut self) -> Message {
        Message::Ping { id: self.next_id(), enr_seq: self.peer.record().seq() }
    }

    /// PINGs and checks the PONG.
    pub(crate) fn ping(&mut self, net: &mut impl Network) {
        let ping = self.new_ping();
        let pong = self.ask(net, &ping);
        self.check_pong(net, &ping, &pong);
    }

    pub(crate) fn check_pong(&self, net: &impl Network, ping: &Message, pong: &Message) {
        let (id, enr_seq) = (ping.id().to_vec(), net.record().seq());
        assert_eq!(*pong, Message::Pong { id, enr_seq, ip: self.at.ip(), port: self.at.port() });
    }

    /// FINDNODE: the records of all packets, which agree on their number.
    pub(crate) fn find_node(&mut self, net: &mut impl Network, distances: &[u64]) -> Vec<Vec<u8>> {
        let id = self.next_id();
        let mut answer = self.ask(net, &Message::FindNode { id, distances: distances.to_vec() });
        let (mut found, mut packets) = (Vec::new(), 0);
        loop {
            let Message::Nodes { total, records, .. } = answer else { panic!("not NODES: {answer:?}") };
            packets += 1;
            found.extend(records);
            assert!((1..=5).contains(&total), "total {total}");
            if packets == total {
                assert!(found.len() <= 16, "{} records", found.len());
                return found;
            }
            answer = self.answer(net);
            assert!(matches!(answer, Message::Nodes { total: again, .. } if again == total), "{answer:?}");
        }
    }

    /// Answers a request of the node.
    pub(crate) fn serve(&mut self, net: &mut impl Network, request: &Message) {
        let id = request.id().to_vec();
        let answer = match request {
            Message::Ping { .. } => {
                self.pinged += 1;
                let endpoint = net.record().udp4_socket().map(SocketAddr::V4);
                let endpoint = endpoint.or(net.record().udp6_socket().map(SocketAddr::V6)).unwrap();
                let enr_seq = self.peer.record().seq();
                Message::Pong { id, enr_seq, ip: endpoint.ip(), port: endpoint.port() }
            }
            Message::FindNode { .. } => Message::Nodes { id, total: 1, records: self.knows.clone() },
            _ => Message::TalkResp { id, response: Vec::new() },
        };
        self.say(net, &answer);
    }

    /// Serves what has arrived.
    pub(crate) fn serve_arrived(&mut self, net: &mut impl Network) {
        while let Some(bytes) = net.try_recv(self.at) {
            let packet = Packet::decode(&self.peer.id(), &bytes).expect("a packet for this peer");
            let text = self.open(&packet);
            let request = match (packet.flag, text) {
                (HANDSHAKE, _) => self.accept(net, &packet).message,
                (_, Some(text)) => Message::decode(&text).expect("a message"),
                _ => {
                    self.challenge(net, &packet, 0);
                    continue;
                }
            };
            if request.is_request() {
                self.serve(net, &request);
            }
        }
    }

    /// Shows that the node sent nothing more to `at`: a PING of this peer, which knows the node already, was
    /// answered meanwhile.
    pub(crate) fn silence(&mut self, net: &mut impl Network, at: SocketAddr) {
        self.ping(net);
        if let Some(bytes) = net.try_recv(at) {
            panic!("an answer of {} bytes where none belongs", bytes.len());
        }
    }
}
