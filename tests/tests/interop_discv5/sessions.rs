//! Sessions and records that end, change, and begin at one moment.

use coracle_core::discovery::{Event, RecordSource};

use crate::{
    messages::pong_to,
    node::within,
    ours::Ours,
    theirs::{Theirs, Told},
};

/// Packets that ask for a challenge cross each other. Several pairs, since each may cross another way.
#[tokio::test]
async fn both_begin_at_once() {
    let pairs = (1..=8).map(|n| async move {
        let (mut ours, theirs) = (Ours::start(n).await, Theirs::start(100 + n).await);
        let (record, enr) = (theirs.record(), ours.enr());
        let (begun, pong) =
            tokio::join!(ours.with(move |machine, now| machine.ping(now, &record)), theirs.ping(enr));
        assert_eq!(pong, (1, theirs.endpoint));
        assert_eq!(pong_to(&mut ours, begun.unwrap()).await, 1);
        // And the session that is left serves both.
        let record = theirs.record();
        let again = ours.with(move |machine, now| machine.ping(now, &record)).await.unwrap();
        assert_eq!(pong_to(&mut ours, again).await, 1);
        assert_eq!(theirs.ping(ours.enr()).await, (1, theirs.endpoint));
    });
    futures::future::join_all(pairs).await;
}

#[tokio::test]
async fn they_restart_and_traffic_resumes() {
    let (mut ours, theirs) = (Ours::start(1).await, Theirs::start(2).await);
    let record = theirs.record();
    let ping = ours.with(move |machine, now| machine.ping(now, &record)).await.unwrap();
    pong_to(&mut ours, ping).await;
    assert!(ours.session_with(theirs.id, theirs.endpoint).await);

    let theirs = theirs.restart().await;
    let record = theirs.record();
    let ping = ours.with(move |machine, now| machine.ping(now, &record)).await.unwrap();
    pong_to(&mut ours, ping).await;
    assert!(ours.session_with(theirs.id, theirs.endpoint).await, "our packet was challenged");
    // The new session serves both directions.
    assert_eq!(theirs.ping(ours.enr()).await, (1, theirs.endpoint));
}

/// As above, but the restarted node speaks first, while we hold the session of its former life.
#[tokio::test]
async fn they_restart_and_begin() {
    let (mut ours, theirs) = (Ours::start(1).await, Theirs::start(2).await);
    theirs.ping(ours.enr()).await;
    assert!(!ours.session_with(theirs.id, theirs.endpoint).await);
    // We check who opened a session, and ask it for nodes. Let that be over: a packet of ours after the restart would
    // begin before theirs, or come in the old session and make them drop the new one.
    ours.reaches(theirs.id).await;
    ours.falls_silent().await;

    let theirs = theirs.restart().await;
    assert_eq!(theirs.ping(ours.enr()).await, (1, theirs.endpoint));
    assert!(!ours.session_with(theirs.id, theirs.endpoint).await, "we challenged their packet");
    let record = theirs.record();
    let ping = ours.with(move |machine, now| machine.ping(now, &record)).await.unwrap();
    pong_to(&mut ours, ping).await;
}

/// Of a hundred datagrams fifteen are lost, those of handshakes too: single requests may fail, later ones work.
#[tokio::test]
async fn a_lossy_network() {
    let pairs = (1..=4).map(|n| async move {
        let (mut ours, mut theirs) = (Ours::start(n).await, Theirs::start(100 + n).await);
        ours.lose(15);
        let mut failed = 0;
        for round in 0..6 {
            if round == 3 {
                theirs = theirs.restart().await;
            }
            within("PONG to theirs in any of many tries", async {
                while theirs.discv5.send_ping(ours.enr()).await.is_err() {
                    failed += 1;
                }
            })
            .await;
            within("PONG to ours in any of many tries", async {
                while !answered(&mut ours, &theirs).await {
                    failed += 1;
                }
            })
            .await;
        }
        println!("pair {n}: 12 requests answered, {failed} failed");
    });
    futures::future::join_all(pairs).await;
}

/// PINGs them once, which may mean several packets.
async fn answered(ours: &mut Ours, theirs: &Theirs) -> bool {
    let record = theirs.record();
    let ping = ours.with(move |machine, now| machine.ping(now, &record)).await.unwrap();
    ours.event("end of a PING", |event| match event {
        Event::Pong { request, .. } if *request == ping => Some(true),
        Event::RequestFailed { request, .. } if *request == ping => Some(false),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn we_restart_and_traffic_resumes() {
    let (mut ours, theirs) = (Ours::start(1).await, Theirs::start(2).await);
    theirs.ping(ours.enr()).await;
    assert!(!ours.session_with(theirs.id, theirs.endpoint).await);

    let mut ours = ours.restart().await;
    assert_eq!(theirs.ping(ours.enr()).await, (1, theirs.endpoint));
    assert!(!ours.session_with(theirs.id, theirs.endpoint).await, "we challenged their packet");
    ours.reaches(theirs.id).await;
}

#[tokio::test]
async fn they_fetch_our_new_record() {
    let (mut ours, mut theirs) = (Ours::start(1).await, Theirs::start(2).await);
    theirs.ping(ours.enr()).await;
    ours.reaches(theirs.id).await;
    let seq = ours.publish_next().await;
    // Nobody asks them to: our next PING shows them the number.
    let enr = theirs
        .expect("our new record", |told| match told {
            Told::Discovered(enr) if enr.seq() == seq => Some(enr.clone()),
            _ => None,
        })
        .await;
    assert_eq!(enr.to_base64(), ours.record().to_string());
}

#[tokio::test]
async fn we_fetch_their_new_record_after_a_pong() {
    let (mut ours, theirs) = (Ours::start(1).await, Theirs::start(2).await);
    let record = theirs.record();
    ours.with(move |machine, now| machine.add_record(now, &record, true)).await.unwrap();
    ours.reaches(theirs.id).await;
    theirs.discv5.enr_insert("coracle", &"changed".as_bytes()).unwrap();
    let id = theirs.id;
    let ping = ours.with(move |machine, now| machine.ping(now, id)).await.unwrap();
    assert_eq!(pong_to(&mut ours, ping).await, 2);
    assert_eq!(their_new_record(&mut ours).await, theirs.enr().to_base64());
}

#[tokio::test]
async fn we_fetch_their_new_record_after_a_ping() {
    let (mut ours, theirs) = (Ours::start(1).await, Theirs::start(2).await);
    theirs.ping(ours.enr()).await;
    ours.reaches(theirs.id).await;
    theirs.discv5.enr_insert("coracle", &"changed".as_bytes()).unwrap();
    theirs.ping(ours.enr()).await;
    assert_eq!(their_new_record(&mut ours).await, theirs.enr().to_base64());
}

#[tokio::test]
async fn ipv6() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let (mut ours, theirs) = (
        Ours::start_at(1, "[::1]:0".parse().unwrap()).await,
        Theirs::start_at(2, "[::1]:0".parse().unwrap()).await,
    );
    assert_eq!(theirs.ping(ours.enr()).await, (1, theirs.endpoint));
    ours.reaches(theirs.id).await;
    assert_eq!(theirs.find_node(ours.enr(), vec![0]).await, [ours.record().to_string()]);
}

async fn their_new_record(ours: &mut Ours) -> String {
    ours.event("their new record", |event| match event {
        Event::RecordSeen { record, source: RecordSource::Owner } if record.seq() == 2 => {
            Some(record.to_string())
        }
        _ => None,
    })
    .await
}
