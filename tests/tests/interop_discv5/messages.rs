//! Every message, asked by either side.

use std::net::SocketAddr;

use coracle_core::{
    discovery::{Event, RecordSource, RequestId},
    id::NodeId,
    limits::MAX_TALK_PAYLOAD,
};

use crate::{
    TALK,
    ours::{Ours, Seen},
    reversed,
    theirs::{self, Theirs, Told},
};

#[tokio::test]
async fn they_ping_us() {
    let (mut ours, theirs) = (Ours::start(1).await, Theirs::start(2).await);
    assert_eq!(theirs.ping(ours.enr()).await, (1, theirs.endpoint));
    assert!(!ours.session_with(theirs.id, theirs.endpoint).await, "they began it");
    // Their record came along in the handshake, byte for byte.
    let record = ours
        .event("their record", |event| match event {
            Event::RecordSeen { record, source: RecordSource::Handshake } => Some(record.clone()),
            _ => None,
        })
        .await;
    assert_eq!(record.to_string(), theirs.enr().to_base64());
    // Whoever completed a handshake is pinged soon, in the session they began.
    ours.reaches(theirs.id).await;
    assert_eq!(vote_of(&mut ours, theirs.id).await, ours.endpoint);
}

#[tokio::test]
async fn we_ping_them() {
    let (mut ours, mut theirs) = (Ours::start(1).await, Theirs::start(2).await);
    let record = theirs.record();
    let ping = ours.with(move |machine, now| machine.ping(now, &record)).await.unwrap();
    assert_eq!(pong_to(&mut ours, ping).await, theirs.enr().seq());
    assert!(ours.session_with(theirs.id, theirs.endpoint).await, "we began it");
    // A PONG says where we are seen.
    assert_eq!(vote_of(&mut ours, theirs.id).await, ours.endpoint);
    let (enr, at) = theirs
        .expect("session", |told| match told {
            Told::Session(enr, at) => Some((enr.clone(), *at)),
            _ => None,
        })
        .await;
    assert_eq!((enr.to_base64(), at), (ours.record().to_string(), ours.endpoint));
}

#[tokio::test]
async fn we_ask_them_for_nodes() {
    let (mut ours, theirs) = (Ours::start(1).await, Theirs::start(2).await);
    let port = |n: u8| SocketAddr::from(([127, 0, 0, 1], 20_000 + u16::from(n)));
    for n in 10..50 {
        // A bucket that is full takes no more.
        let _ = theirs.discv5.add_enr(theirs::enr(n, 7, port(n)));
    }
    for distances in [&[0_u16][..], &[256], &[255], &[254, 253], &[0, 255], &[200]] {
        let wide = distances.iter().map(|d| u64::from(*d)).collect();
        // They leave the one who asks out, whom they know since the first question.
        let mut expected: Vec<_> =
            theirs.discv5.nodes_by_distance(wide).iter().map(|e| e.to_base64()).collect();
        expected.retain(|text| *text != ours.record().to_string());
        expected.sort();
        let (record, asked) = (theirs.record(), distances.to_vec());
        let request = ours.with(move |machine, now| machine.find_node(now, &record, &asked)).await.unwrap();
        let (found, count) = nodes_of(&mut ours, request).await;
        assert_eq!(count, expected.len(), "distances {distances:?}");
        assert_eq!(found, expected, "distances {distances:?}");
    }
}

#[tokio::test]
async fn they_ask_us_for_nodes() {
    let (mut ours, theirs) = (Ours::start(1).await, Theirs::start(2).await);
    // Exactly our record, byte for byte.
    assert_eq!(theirs.find_node(ours.enr(), vec![0]).await, [ours.record().to_string()]);

    // What we relay answered us before.
    let mut known = Vec::new();
    for n in 3..7 {
        let node = Theirs::start(n).await;
        let record = node.record();
        ours.with(move |machine, now| machine.add_record(now, &record, false)).await.unwrap();
        known.push(node);
    }
    for node in &known {
        ours.reaches(node.id).await;
    }
    for node in &known {
        let distance = ours.id.log_distance(&node.id);
        let mut expected: Vec<_> = known
            .iter()
            .filter(|other| ours.id.log_distance(&other.id) == distance)
            .map(|other| other.enr().to_base64())
            .collect();
        expected.sort();
        let mut found = theirs.find_node(ours.enr(), vec![distance.into()]).await;
        // The asker itself is told of too, once it has answered a PING.
        found.retain(|record| *record != theirs.enr().to_base64());
        assert_eq!(found, expected, "distance {distance}");
    }
    assert!(theirs.find_node(ours.enr(), vec![3]).await.is_empty(), "nobody is at distance 3");
}

#[tokio::test]
async fn they_talk_to_us() {
    let (mut ours, theirs) = (Ours::start(1).await, Theirs::start(2).await);
    // Several at once, before there is a session.
    let requests: Vec<Vec<u8>> = (0..5).map(|n| vec![n, 1, 2, 3]).collect();
    let answers = requests.iter().map(|request| theirs.talk(ours.enr(), TALK, request));
    for (answer, request) in futures::future::join_all(answers).await.iter().zip(&requests) {
        assert_eq!(*answer, reversed(request));
    }
    for _ in &requests {
        let (from, request) = ours
            .expect("TALKREQ", |seen| match seen {
                Seen::Asked { from, request } => Some((*from, request.clone())),
                _ => None,
            })
            .await;
        assert_eq!(from, theirs.id);
        assert!(requests.contains(&request));
    }
    assert_eq!(theirs.talk(ours.enr(), b"unknown", b"anything").await, b"");
    assert_eq!(theirs.talk(ours.enr(), TALK, b"").await, b"");
    let longest: Vec<u8> = (0..MAX_TALK_PAYLOAD - TALK.len()).map(|n| n as u8).collect();
    assert_eq!(theirs.talk(ours.enr(), TALK, &longest).await, reversed(&longest));
}

#[tokio::test]
async fn we_talk_to_them() {
    let (mut ours, mut theirs) = (Ours::start(1).await, Theirs::start(2).await);
    let longest = MAX_TALK_PAYLOAD - TALK.len();
    for len in [0, 1, 900, longest] {
        let request: Vec<u8> = (0..len).map(|n| n as u8).collect();
        assert_eq!(ask(&mut ours, &theirs, TALK, &request).await, reversed(&request), "{len} bytes");
        let told = theirs
            .expect("TALKREQ", |told| match told {
                Told::Talk { protocol, request } => Some((protocol.clone(), request.clone())),
                _ => None,
            })
            .await;
        assert_eq!(told, (TALK.to_vec(), request));
    }
    assert_eq!(ask(&mut ours, &theirs, b"unknown", b"anything").await, b"");
}

async fn ask(ours: &mut Ours, theirs: &Theirs, protocol: &[u8], request: &[u8]) -> Vec<u8> {
    let (record, protocol, request) = (theirs.record(), protocol.to_vec(), request.to_vec());
    let begun = ours.with(move |machine, now| machine.talk(now, &record, &protocol, &request)).await.unwrap();
    ours.expect("TALKRESP", |seen| match seen {
        Seen::Answered { request, response } if *request == begun => Some(response.clone()),
        _ => None,
    })
    .await
}

pub(crate) async fn pong_to(ours: &mut Ours, ping: RequestId) -> u64 {
    ours.event("PONG", |event| match event {
        Event::Pong { request, enr_seq, .. } if *request == ping => Some(*enr_seq),
        Event::RequestFailed { request, reason } if *request == ping => panic!("PING failed: {reason}"),
        _ => None,
    })
    .await
}

async fn vote_of(ours: &mut Ours, voter: NodeId) -> SocketAddr {
    ours.event("vote", |event| match event {
        Event::Vote { from, observed } if *from == voter => Some(*observed),
        _ => None,
    })
    .await
}

/// The records that came for a FINDNODE, as text and sorted, and how many it says there were.
async fn nodes_of(ours: &mut Ours, begun: RequestId) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    loop {
        // Events come in order: records first, then the end.
        let next = ours
            .event("NODES", |event| match event {
                Event::RecordSeen { record, source: RecordSource::Owner | RecordSource::Relayed(_) } => {
                    Some(Ok(record.to_string()))
                }
                Event::Nodes { request, count, .. } if *request == begun => Some(Err(*count)),
                Event::RequestFailed { request, reason } if *request == begun => {
                    panic!("FINDNODE failed: {reason}")
                }
                _ => None,
            })
            .await;
        match next {
            Ok(record) => found.push(record),
            Err(count) => {
                found.sort();
                found.dedup();
                return (found, count);
            }
        }
    }
}
