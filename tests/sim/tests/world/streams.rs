//! Streams: bytes in order, whatever the pieces; and all the ways in which they end.

use std::net::SocketAddr;

use coracle_sim::{
    Boot, Choices, CloseReason, Context, DialError, Event, Faults, MILLION, MILLISECOND, Machine, SECOND,
    Sim, StreamId, StreamLimits,
};

use crate::toy::{Command, PORT, Seen, at, ip, pattern, world};

fn echo(to: u8, length: usize) -> Command {
    Command::Echo { to: at(to), length }
}

#[test]
fn bytes_come_whole_and_in_order_however_they_are_split() {
    for seed in 0..30 {
        let mut faults = Faults::none();
        faults.streams.split = 900_000;
        faults.link.loss = 100_000;
        faults.link.jitter = 50 * MILLISECOND;
        let (mut sim, nodes) = world(Choices::from_seed(seed), faults, 2);
        // Small buffers: many pieces, and both sides wait for room again and again.
        sim.set_stream_limits(StreamLimits {
            send_buffer: 1000,
            receive_buffer: 700,
            ..StreamLimits::default()
        });
        sim.command(nodes[0], echo(2, 20_000));
        sim.run_until(300 * SECOND).unwrap();
        assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::Echoed(20_000)], "seed {seed}");
        let finished = [Seen::Gone(CloseReason::Finished)];
        assert_eq!(sim.machine(nodes[1]).unwrap().seen, finished, "seed {seed}");
        assert!(sim.counters().segments_split > 20, "seed {seed}");
        assert!(sim.counters().segments_resent > 0, "seed {seed}");
    }
}

#[test]
fn a_dial_takes_a_round_trip() {
    let (mut sim, nodes) = world(Choices::from_seed(0), Faults::none(), 2);
    sim.command(nodes[0], echo(2, 1));
    sim.run_until(20 * MILLISECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().accepted, 0);
    sim.run_until(30 * MILLISECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().accepted, 1);
    sim.run_until(40 * MILLISECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::Echoed(1)]);
}

#[test]
fn a_dial_is_refused_or_goes_unanswered_or_finds_no_way() {
    let (mut sim, nodes) = world(Choices::from_seed(0), Faults::none(), 3);
    let dial = |sim: &mut Sim<_>, to| {
        sim.command(nodes[0], Command::Echo { to, length: 1 });
    };
    sim.block(nodes[0], nodes[2]);
    dial(&mut sim, (ip(2), PORT + 1).into());
    dial(&mut sim, at(3));
    dial(&mut sim, at(200));
    dial(&mut sim, "[::1]:1".parse().unwrap());
    sim.run_until(SECOND).unwrap();
    let early = [DialError::NoRoute, DialError::Refused].map(Seen::NoDial);
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, early);
    sim.run_until(21 * SECOND).unwrap();
    let late = [Seen::NoDial(DialError::TimedOut); 2];
    assert_eq!(sim.machine(nodes[0]).unwrap().seen[2..], late);
}

#[test]
fn a_dial_survives_a_short_partition_and_so_does_a_stream() {
    let (mut sim, nodes) = world(Choices::from_seed(0), Faults::none(), 2);
    sim.partition(&nodes[..1]);
    sim.command(nodes[0], echo(2, 1_000_000));
    sim.run_until(5 * SECOND).unwrap();
    sim.heal();
    let limit = 6 * SECOND;
    let accepted = sim.run_while(|sim| sim.machine(nodes[1]).unwrap().accepted == 0, limit);
    assert!(accepted.unwrap());
    sim.run_for(100 * MILLISECOND).unwrap();
    sim.block(nodes[1], nodes[0]);
    sim.run_until(20 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, []);
    sim.heal();
    sim.run_until(40 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::Echoed(1_000_000)]);
}

#[test]
fn a_long_partition_kills_a_stream_in_use() {
    let (mut sim, nodes) = world(Choices::from_seed(0), Faults::none(), 2);
    sim.command(nodes[0], echo(2, 1_000_000));
    sim.run_until(100 * MILLISECOND).unwrap();
    sim.partition(&nodes[..1]);
    sim.run_until(40 * SECOND).unwrap();
    let seen = |node| &sim.machine(node).unwrap().seen;
    assert_eq!(*seen(nodes[0]), [Seen::Gone(CloseReason::TimedOut)]);
    assert_eq!(*seen(nodes[1]), [], "nothing of its own was on the way");
}

#[test]
fn after_a_crash_or_a_move_the_other_side_notices_by_choice() {
    let cases = [(0, SECOND, CloseReason::Reset), (MILLION, 31 * SECOND, CloseReason::TimedOut)];
    for (silent, after, reason) in cases {
        for moves in [false, true] {
            let mut faults = Faults::none();
            faults.streams.silent = silent;
            let (mut sim, nodes) = world(Choices::from_seed(0), faults, 2);
            sim.command(nodes[0], echo(2, 1_000_000));
            sim.run_until(100 * MILLISECOND).unwrap();
            if moves {
                sim.move_node(nodes[1], &[ip(50)]).unwrap();
                sim.run_for(0).unwrap();
                let own = [Seen::Gone(CloseReason::AddressLost), Seen::Moved];
                assert_eq!(sim.machine(nodes[1]).unwrap().seen, own);
            } else {
                sim.crash(nodes[1]);
                sim.restart(nodes[1]);
            }
            sim.run_for(after).unwrap();
            let seen = &sim.machine(nodes[0]).unwrap().seen;
            assert_eq!(*seen, [Seen::Gone(reason)], "moves: {moves}");
        }
    }
}

#[test]
fn streams_break_midway_and_both_ends_hear_of_it() {
    let mut faults = Faults::none();
    faults.streams.broken = 200_000;
    let mut broken = 0;
    for seed in 0..40 {
        let (mut sim, nodes) = world(Choices::from_seed(seed), faults, 2);
        sim.command(nodes[0], echo(2, 300_000));
        sim.run_until(60 * SECOND).unwrap();
        let reset = Seen::Gone(CloseReason::Reset);
        if sim.machine(nodes[0]).unwrap().seen == [reset] {
            broken += 1;
            let accepted = sim.machine(nodes[1]).unwrap().accepted;
            let heard = sim.machine(nodes[1]).unwrap().seen.len();
            assert_eq!(heard, accepted, "seed {seed}");
        }
    }
    assert!(broken > 20, "{broken} of 40");
}

/// Changes what it is offered in place, and takes it in small bites; or floods a peer that takes nothing.
#[derive(Default)]
struct Picky {
    mode: Mode,
    marked: usize,
    taken: Vec<u8>,
    offers: usize,
    wrote: usize,
    full: bool,
    stream: Option<StreamId>,
    closed: Option<CloseReason>,
}

#[derive(Default, Debug, Clone, Copy, PartialEq)]
enum Mode {
    #[default]
    Flood,
    Bite,
    Refuse,
    Resume,
    Write,
    Close,
    Reset,
}

impl Picky {
    fn flood(&mut self, cx: &mut Context<'_, ()>, stream: StreamId) {
        let bytes: Vec<u8> = (self.wrote..self.wrote + 10_000).map(pattern).collect();
        let room = cx.room(stream);
        let taken = cx.write(stream, &bytes);
        assert_eq!(taken, room.min(bytes.len()));
        self.wrote += taken;
        self.full = taken < bytes.len();
    }
}

impl Machine for Picky {
    type Command = Mode;
    type Observation = ();

    fn handle_start(&mut self, cx: &mut Context<'_, ()>) {
        cx.listen(PORT);
    }

    fn handle_command(&mut self, cx: &mut Context<'_, ()>, mode: Mode) {
        match (mode, self.stream) {
            (Mode::Flood, None) => self.stream = Some(cx.dial(at(2))),
            (Mode::Resume, Some(stream)) => cx.resume(stream),
            (Mode::Write, Some(stream)) => self.flood(cx, stream),
            (Mode::Close, Some(stream)) => cx.close(stream),
            (Mode::Reset, Some(stream)) => cx.reset(stream),
            _ => self.mode = mode,
        }
    }

    fn handle_event(&mut self, cx: &mut Context<'_, ()>, event: Event) {
        match event {
            Event::Connected { stream, .. } => self.flood(cx, stream),
            Event::Writable(stream) if self.wrote < 20_000 => self.flood(cx, stream),
            Event::Accepted { stream, .. } => self.stream = Some(stream),
            Event::Closed { reason, .. } => self.closed = Some(reason),
            _ => {}
        }
    }

    fn handle_bytes(&mut self, cx: &mut Context<'_, ()>, stream: StreamId, bytes: &mut [u8]) -> usize {
        self.offers += 1;
        if self.mode == Mode::Refuse {
            return 0;
        }
        // Mark each byte once: one that was marked and not taken must come back marked.
        for byte in &mut bytes[self.marked..] {
            *byte ^= 0xff;
        }
        let bite = bytes.len().min(7);
        self.taken.extend_from_slice(&bytes[..bite]);
        self.marked = bytes.len() - bite;
        cx.resume(stream);
        bite
    }
}

fn picky(mode: Mode) -> (Sim<Picky>, [coracle_sim::NodeId; 2]) {
    let mut sim = Sim::new(Choices::from_seed(0), Faults::none());
    sim.set_stream_limits(StreamLimits {
        send_buffer: 3000,
        receive_buffer: 2000,
        ..StreamLimits::default()
    });
    let nodes = [1, 2].map(|number| sim.add_node(ip(number), |_| Picky::default()).unwrap());
    sim.command(nodes[1], mode);
    sim.command(nodes[0], Mode::Flood);
    (sim, nodes)
}

#[test]
fn bytes_not_taken_are_kept_as_the_machine_left_them() {
    let (mut sim, nodes) = picky(Mode::Bite);
    sim.run_until(60 * SECOND).unwrap();
    let wrote = sim.machine(nodes[0]).unwrap().wrote;
    let taken = &sim.machine(nodes[1]).unwrap().taken;
    assert!(wrote >= 20_000);
    assert_eq!(taken.len(), wrote);
    assert!(taken.iter().enumerate().all(|(at, byte)| *byte == pattern(at) ^ 0xff));
}

#[test]
fn buffers_are_bounded_and_a_refusal_is_not_asked_again_until_it_wants() {
    let (mut sim, nodes) = picky(Mode::Refuse);
    sim.run_until(60 * SECOND).unwrap();
    let writer = sim.machine(nodes[0]).unwrap();
    assert!(writer.full);
    assert_eq!(writer.wrote, 5000, "both buffers and not a byte more");
    let offers = sim.machine(nodes[1]).unwrap().offers;
    sim.run_for(60 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().offers, offers);
    sim.command(nodes[1], Mode::Resume);
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().offers, offers + 1);
    sim.command(nodes[1], Mode::Bite);
    sim.command(nodes[1], Mode::Resume);
    sim.run_for(60 * SECOND).unwrap();
    assert!(sim.machine(nodes[1]).unwrap().taken.len() >= 20_000);
}

#[test]
fn a_close_delivers_what_was_written_and_a_reset_does_not_wait() {
    let (mut sim, nodes) = picky(Mode::Refuse);
    sim.run_until(SECOND).unwrap();
    sim.command(nodes[0], Mode::Close);
    sim.run_for(60 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().closed, None, "it has not read all");
    sim.command(nodes[1], Mode::Bite);
    sim.command(nodes[1], Mode::Resume);
    sim.run_for(60 * SECOND).unwrap();
    let reader = sim.machine(nodes[1]).unwrap();
    assert_eq!(reader.closed, Some(CloseReason::Finished));
    assert_eq!(reader.taken.len(), 5000);
    assert_eq!(sim.machine(nodes[0]).unwrap().closed, None, "who closes hears nothing");

    let (mut sim, nodes) = picky(Mode::Refuse);
    sim.run_until(SECOND).unwrap();
    sim.command(nodes[0], Mode::Reset);
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().closed, Some(CloseReason::Reset));

    // A reader that closes with bytes unread lets the writer go.
    let (mut sim, nodes) = picky(Mode::Refuse);
    sim.run_until(SECOND).unwrap();
    sim.command(nodes[1], Mode::Close);
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().closed, Some(CloseReason::Finished));
}

#[test]
fn a_reset_lost_in_a_partition_is_noticed_at_the_next_byte() {
    let (mut sim, nodes) = picky(Mode::Bite);
    sim.run_until(60 * SECOND).unwrap();
    sim.partition(&nodes[..1]);
    sim.command(nodes[1], Mode::Reset);
    sim.run_for(60 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().closed, None, "idle and unaware");
    sim.heal();
    sim.run_for(60 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().closed, None, "still idle");
    sim.command(nodes[0], Mode::Write);
    sim.run_for(SECOND).unwrap();
    let closed = sim.machine(nodes[0]).unwrap().closed;
    assert_eq!(closed, Some(CloseReason::Reset));
}

#[test]
fn what_arrived_with_its_end_outlives_the_writer() {
    let (mut sim, nodes) = picky(Mode::Refuse);
    sim.set_stream_limits(StreamLimits::default());
    sim.run_until(SECOND).unwrap();
    sim.command(nodes[0], Mode::Close);
    sim.run_for(SECOND).unwrap();
    sim.crash(nodes[0]);
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().closed, None);
    sim.command(nodes[1], Mode::Bite);
    sim.command(nodes[1], Mode::Resume);
    sim.run_for(SECOND).unwrap();
    let reader = sim.machine(nodes[1]).unwrap();
    assert_eq!(reader.taken.len(), 10_000);
    assert_eq!(reader.closed, Some(CloseReason::Finished));
}

#[test]
fn without_acknowledgements_nothing_is_delivered() {
    let (mut sim, nodes) = picky(Mode::Bite);
    sim.run_until(20 * MILLISECOND).unwrap();
    assert!(sim.machine(nodes[0]).unwrap().wrote > 0);
    sim.block(nodes[1], nodes[0]);
    sim.run_for(5 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().offers, 0);
    sim.unblock(nodes[1], nodes[0]);
    sim.run_for(60 * SECOND).unwrap();
    assert!(sim.machine(nodes[1]).unwrap().taken.len() >= 20_000);
}

/// Binds its ports at its first start only.
struct Forgetful {
    restarts: u32,
    refused: bool,
    received: bool,
}

impl Machine for Forgetful {
    type Command = ();
    type Observation = ();

    fn handle_start(&mut self, cx: &mut Context<'_, ()>) {
        if self.restarts == 0 {
            cx.bind(PORT);
            cx.listen(PORT);
        }
    }

    fn handle_command(&mut self, cx: &mut Context<'_, ()>, (): ()) {
        cx.dial(at(2));
        cx.send(at(1), at(2), b"hello");
    }

    fn handle_datagram(
        &mut self,
        _cx: &mut Context<'_, ()>,
        _local: SocketAddr,
        _from: SocketAddr,
        _bytes: &mut [u8],
    ) {
        self.received = true;
    }

    fn handle_event(&mut self, _cx: &mut Context<'_, ()>, event: Event) {
        let reason = DialError::Refused;
        self.refused = matches!(event, Event::DialFailed { reason: why, .. } if why == reason);
    }
}

#[test]
fn a_crash_frees_the_ports() {
    let mut sim = Sim::new(Choices::from_seed(0), Faults::none());
    let nodes = [1, 2].map(|number| {
        let build = |boot: Boot<'_>| Forgetful { restarts: boot.restarts, refused: false, received: false };
        sim.add_node(ip(number), build).unwrap()
    });
    for restarts in [0, 1] {
        sim.command(nodes[0], ());
        sim.run_for(SECOND).unwrap();
        let there = sim.machine(nodes[1]).unwrap();
        assert_eq!(there.restarts, restarts);
        assert_eq!(there.received, restarts == 0);
        assert_eq!(sim.machine(nodes[0]).unwrap().refused, restarts == 1);
        sim.crash(nodes[1]);
        sim.restart(nodes[1]);
    }
}

/// Sends a request of several segments, finishes, and reads the answer; the other side answers after the end.
#[derive(Default)]
struct Half {
    /// Answers after the peer has finished; else it lets the stream close.
    keeps: bool,
    read: usize,
    /// Bytes of the answer not yet written.
    owed: usize,
    asked: bool,
    closed: Option<CloseReason>,
}

impl Half {
    fn answer(&mut self, cx: &mut Context<'_, ()>, stream: StreamId) {
        while self.owed > 0 {
            let taken = cx.write(stream, &vec![1; self.owed.min(1000)]);
            self.owed -= taken;
            if taken == 0 {
                return;
            }
        }
        cx.finish(stream);
    }
}

impl Machine for Half {
    type Command = ();
    type Observation = ();

    fn handle_start(&mut self, cx: &mut Context<'_, ()>) {
        cx.listen(PORT);
    }

    fn handle_command(&mut self, cx: &mut Context<'_, ()>, (): ()) {
        cx.dial(at(2));
    }

    fn handle_bytes(&mut self, _cx: &mut Context<'_, ()>, _stream: StreamId, bytes: &mut [u8]) -> usize {
        self.read += bytes.len();
        bytes.len()
    }

    fn handle_finish(&mut self, cx: &mut Context<'_, ()>, stream: StreamId) -> bool {
        self.asked = true;
        self.owed = 30_000;
        if self.keeps {
            self.answer(cx, stream);
        }
        self.keeps
    }

    fn handle_event(&mut self, cx: &mut Context<'_, ()>, event: Event) {
        match event {
            Event::Connected { stream, .. } => {
                assert_eq!(cx.write(stream, &[7; 4000]), 4000);
                cx.finish(stream);
                assert_eq!(cx.write(stream, b"more"), 0, "finished");
                assert_eq!(cx.room(stream), 0);
            }
            Event::Accepted { stream, .. } => assert_eq!(cx.write(stream, b"hello"), 5),
            Event::Writable(stream) => self.answer(cx, stream),
            Event::Closed { reason, .. } => self.closed = Some(reason),
            _ => {}
        }
    }
}

#[test]
fn a_stream_may_be_half_open() {
    for (seed, keeps) in (0..20).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut faults = Faults::none();
        faults.streams.split = 700_000;
        faults.link.jitter = 30 * MILLISECOND;
        let mut sim = Sim::new(Choices::from_seed(seed), faults);
        let add = |number| sim.add_node(ip(number), move |_| Half { keeps, ..Half::default() }).unwrap();
        let nodes = [1, 2].map(add);
        sim.set_stream_limits(StreamLimits { send_buffer: 5000, ..StreamLimits::default() });
        sim.command(nodes[0], ());
        sim.run_until(60 * SECOND).unwrap();
        let [ours, theirs] = nodes.map(|node| sim.machine(node).unwrap());
        assert_eq!(theirs.read, 4000, "seed {seed}");
        assert!(theirs.asked && !ours.asked, "who has finished is not asked");
        assert_eq!(ours.read, if keeps { 30_005 } else { 5 }, "seed {seed}: what was written before arrives");
        for end in [ours, theirs] {
            assert_eq!(end.closed, Some(CloseReason::Finished), "seed {seed}");
        }
    }
}

#[test]
fn a_half_open_stream_whose_peer_crashes_is_told() {
    let mut sim = Sim::new(Choices::from_seed(0), Faults::none());
    let nodes =
        [1, 2].map(|number| sim.add_node(ip(number), |_| Half { keeps: true, ..Half::default() }).unwrap());
    sim.set_stream_limits(StreamLimits {
        send_buffer: 4000,
        receive_buffer: 4000,
        ..StreamLimits::default()
    });
    sim.command(nodes[0], ());
    sim.run_while(|sim| !sim.machine(nodes[1]).unwrap().asked, SECOND).unwrap();
    sim.crash(nodes[0]);
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.machine(nodes[1]).unwrap().closed, Some(CloseReason::Reset));
}

#[test]
fn streams_stall_and_go_on() {
    let mut faults = Faults::none();
    faults.streams.stall = 100_000;
    faults.streams.stall_for = 5 * SECOND;
    let (mut sim, nodes) = world(Choices::from_seed(3), faults, 2);
    sim.command(nodes[0], echo(2, 1_000_000));
    sim.run_until(10 * SECOND).unwrap();
    assert!(sim.counters().streams_stalled > 1, "{:?}", sim.counters());
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, []);
    sim.run_until(300 * SECOND).unwrap();
    assert_eq!(sim.machine(nodes[0]).unwrap().seen, [Seen::Echoed(1_000_000)]);
}

#[test]
fn a_narrow_link_takes_its_time_and_lets_others_in_between() {
    let mut faults = Faults::none();
    faults.link.bandwidth = 50_000;
    faults.link.queue = 20_000;
    let (mut sim, nodes) = world(Choices::from_seed(3), faults, 2);
    sim.command(nodes[0], echo(2, 100_000));
    sim.command(nodes[0], Command::Ping { to: at(2), count: 1 });
    let done =
        |sim: &Sim<crate::toy::Toy>| sim.machine(nodes[0]).unwrap().seen.contains(&Seen::Echoed(100_000));
    assert!(sim.run_while(|sim| !done(sim), 60 * SECOND).unwrap());
    // 2 s each way, of which most overlap.
    let took = sim.now() / MILLISECOND;
    assert!((2_000..3_500).contains(&took), "{took} ms");
    assert!(sim.counters().segments_queued > 10);
    assert!(sim.machine(nodes[0]).unwrap().seen.contains(&Seen::Ponged(1)));
}
