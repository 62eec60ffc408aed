//! Datagrams that are no packets (discv5 wire, "UDP Communication" and "Protocol Header").

use coracle_tests::raw_peer::{Message, Packet};

use crate::{bench::Network, line::Line};

by_any_node![
    sizes_from_63_to_1280_bytes,
    other_protocols_and_versions_are_not_answered,
    other_kinds_of_packets_are_not_answered,
    wrong_authdata_is_not_answered,
    packets_for_others_and_from_the_node_itself_are_not_answered,
];

/// No spoiled packet gets an answer; the same packet unspoiled gets a challenge.
fn refuses(net: &mut impl Network, spoil: &[&dyn Fn(&mut Packet)]) {
    let (mut line, mut control) = (Line::new(net, 1), Line::established(net, 2));
    for spoil in spoil {
        let mut packet = line.peer.random_packet();
        spoil(&mut packet);
        line.send(net, &packet);
        control.silence(net, line.at);
    }
    line.ask_for_challenge(net);
}

fn sizes_from_63_to_1280_bytes(net: &mut impl Network) {
    let (mut line, mut control) = (Line::established(net, 1), Line::established(net, 2));
    // The largest packet is read whole: the TALKREQ in it is answered.
    let talk = |id: &[u8], len| Message::TalkReq {
        id: id.to_vec(),
        protocol: b"test".to_vec(),
        request: vec![7; len],
    };
    let head = 16 + 23 + 32 + 16;
    let empty = talk(&[1], 1000).encode().len() - 1000;
    for size in [1279, 1280] {
        let request = talk(&[1], size - head - empty);
        let packet = line.say(net, &request);
        assert_eq!(packet.encode(&[0; 32]).len(), size);
        let answer = line.answer(net);
        assert_eq!(answer, Message::TalkResp { id: vec![1], response: Vec::new() });
    }
    for size in [1281, 1400, 2000] {
        let packet = line.say(net, &talk(&[2], size - head - empty));
        assert_eq!(packet.encode(&[0; 32]).len(), size);
        control.silence(net, line.at);
    }
    // What is too short to be any packet, and what is cut off an ordinary one.
    let whole = line.peer.random_packet().encode(&net.record().node_id().raw());
    for size in [0, 1, 15, 16, 38, 39, 62, 63, 70] {
        net.send(line.at, &whole[..size]);
        control.silence(net, line.at);
    }
    line.ping(net);
}

fn other_protocols_and_versions_are_not_answered(net: &mut impl Network) {
    refuses(
        net,
        &[
            &|packet| packet.protocol = *b"discv4",
            &|packet| packet.protocol = *b"Discv5",
            &|packet| packet.protocol = [0; 6],
            &|packet| packet.version = 0,
            &|packet| packet.version = 2,
            &|packet| packet.version = 0x0100,
        ],
    );
}

fn other_kinds_of_packets_are_not_answered(net: &mut impl Network) {
    refuses(
        net,
        &[&|packet| packet.flag = 3, &|packet| packet.flag = 4, &|packet| packet.flag = 0x80, &|packet| {
            packet.flag = 255;
        }],
    );
}

fn wrong_authdata_is_not_answered(net: &mut impl Network) {
    let size = |packet: &mut Packet, size| packet.authdata_size = size;
    refuses(
        net,
        &[
            &|packet| size(packet, 0),
            &|packet| size(packet, 31),
            &|packet| size(packet, 33),
            &|packet| size(packet, 1000),
            &|packet| size(packet, u16::MAX),
            // A WHOAREYOU with a message, and one whose authdata is too long.
            &|packet| {
                packet.flag = 1;
                packet.authdata = vec![0; 24];
                packet.authdata_size = 24;
            },
            &|packet| {
                packet.flag = 1;
                packet.authdata = vec![0; 25];
                packet.authdata_size = 25;
                packet.message.clear();
            },
        ],
    );
}

fn packets_for_others_and_from_the_node_itself_are_not_answered(net: &mut impl Network) {
    let own = net.record().node_id().raw();
    refuses(net, &[&|packet| packet.authdata = own.to_vec()]);
    let (mut line, mut control) = (Line::new(net, 3), Line::established(net, 4));
    let packet = line.peer.random_packet();
    net.send(line.at, &packet.encode(&[1; 32]));
    control.silence(net, line.at);
}
