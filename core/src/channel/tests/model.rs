//! yamux against a reference model: two channels under any sequence of what their users can do, over
//! connections that cut bytes anywhere.
//!
//! The model knows only what users intend: so many bytes, then an end, or a reset. What must hold on the
//! way: bytes arrive in order and unchanged, never more than a window beyond what was released, an end
//! is told after all bytes and once, and nothing after the last word. When both sides read on, what was
//! intended is what came about.

use std::println;

use proptest::{prelude::*, test_runner::TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::*;
use crate::limits::YAMUX_WINDOW;

const MAX_OPEN: usize = 12;

/// What the users of one stream intend, by side.
#[derive(Clone, Debug, Default)]
struct Intent {
    written: [usize; 2],
    finished: [bool; 2],
    reset: [bool; 2],
}

#[derive(Clone, Debug, Default)]
struct Model {
    streams: Vec<Intent>,
}

#[derive(Clone, Debug)]
enum Step {
    Open {
        side: usize,
    },
    Write {
        stream: usize,
        side: usize,
        len: usize,
    },
    Finish {
        stream: usize,
        side: usize,
    },
    Reset {
        stream: usize,
        side: usize,
    },
    /// This side may read so much more of a stream.
    Read {
        stream: usize,
        side: usize,
        len: usize,
    },
    /// It gives back the window of all it read.
    Release {
        stream: usize,
        side: usize,
    },
    Ping {
        side: usize,
    },
    /// Bytes travel, in pieces of this size.
    Deliver {
        chunk: usize,
        rounds: usize,
    },
}

struct Yamux;

impl ReferenceStateMachine for Yamux {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::default()).boxed()
    }

    fn transitions(state: &Model) -> BoxedStrategy<Step> {
        let side = 0..2usize;
        let mut steps = vec![
            (2, side.clone().prop_map(|side| Step::Open { side }).boxed()),
            (1, side.clone().prop_map(|side| Step::Ping { side }).boxed()),
            (
                6,
                (1usize..3_000, 1usize..40)
                    .prop_map(|(chunk, rounds)| Step::Deliver { chunk, rounds })
                    .boxed(),
            ),
        ];
        if !state.streams.is_empty() {
            let at = (0..state.streams.len(), side);
            let len = prop_oneof![Just(0usize), 1usize..300, 60_000usize..200_000];
            let write =
                (at.clone(), len.clone()).prop_map(|((stream, side), len)| Step::Write { stream, side, len });
            let read = (at.clone(), len).prop_map(|((stream, side), len)| Step::Read { stream, side, len });
            steps.push((6, write.boxed()));
            steps.push((6, read.boxed()));
            steps.push((3, at.clone().prop_map(|(stream, side)| Step::Release { stream, side }).boxed()));
            steps.push((2, at.clone().prop_map(|(stream, side)| Step::Finish { stream, side }).boxed()));
            steps.push((1, at.prop_map(|(stream, side)| Step::Reset { stream, side }).boxed()));
        }
        proptest::strategy::Union::new_weighted(steps).boxed()
    }

    fn preconditions(state: &Model, step: &Step) -> bool {
        let intent = |stream: &usize| state.streams.get(*stream);
        match step {
            Step::Open { .. } => state.streams.len() < MAX_OPEN,
            Step::Write { stream, side, .. } | Step::Finish { stream, side } => {
                intent(stream).is_some_and(|i| !i.finished[*side] && !i.reset[*side])
            }
            Step::Reset { stream, side } => intent(stream).is_some_and(|i| !i.reset[*side]),
            Step::Read { stream, .. } | Step::Release { stream, .. } => intent(stream).is_some(),
            Step::Ping { .. } | Step::Deliver { .. } => true,
        }
    }

    fn apply(mut state: Model, step: &Step) -> Model {
        match step {
            Step::Open { .. } => state.streams.push(Intent::default()),
            Step::Write { stream, side, len } => state.streams[*stream].written[*side] += len,
            Step::Finish { stream, side } => state.streams[*stream].finished[*side] = true,
            Step::Reset { stream, side } => state.streams[*stream].reset[*side] = true,
            _ => {}
        }
        state
    }
}

/// One side of a stream as its user sees it.
#[derive(Clone, Debug, Default)]
struct End {
    /// Its yamux id, once this side knows the stream.
    id: Option<u32>,
    agreed: bool,
    /// Bytes to write, and those written.
    intended: usize,
    written: usize,
    finish: bool,
    finish_done: bool,
    reset: bool,
    reset_done: bool,
    appetite: usize,
    read: usize,
    released: usize,
    finished: bool,
    ended: Option<StreamEnd>,
}

struct Pair {
    ends: [Channel; 2],
    /// On the way to a side, and arrived there.
    wire: [Vec<u8>; 2],
    pending: [Vec<u8>; 2],
    streams: Vec<[End; 2]>,
    bytes: u64,
}

fn byte(stream: usize, from: usize, at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8) ^ (stream * 7 + from)) as u8
}

impl Pair {
    fn new() -> Self {
        let (a, b) = finished_pair(Options::default(), Options::default());
        let config =
            || ChannelConfig { protocols: Protocols::new(["/m/1"]).unwrap(), streams: 64, ..silent() };
        let ends = [channel(a, config()), channel(b, config())];
        Self { ends, wire: Default::default(), pending: Default::default(), streams: Vec::new(), bytes: 0 }
    }

    fn find(&self, side: usize, id: u32) -> usize {
        let found = self.streams.iter().position(|stream| stream[side].id == Some(id));
        found.expect("news of a stream that this side knows")
    }

    /// Does what the users of one side want, and hears what it is told.
    fn act(&mut self, side: usize) {
        let now = Instant::ZERO;
        while let Some(news) = self.ends[side].poll_stream(true, |_| true) {
            self.hear(side, news);
        }
        let mut buf = vec![0; CHANNEL_READ_SIZE];
        for stream in 0..self.streams.len() {
            let end = &mut self.streams[stream][side];
            let Some(id) = end.id.filter(|_| end.ended.is_none() && !end.reset_done) else { continue };
            if end.reset {
                end.reset_done = true;
                self.ends[side].reset_stream(id);
                continue;
            }
            if !end.agreed || end.finish_done {
                continue;
            }
            let payload: Vec<u8> = (end.written..end.intended).map(|at| byte(stream, side, at)).collect();
            let payload = Payload { bytes: &payload, whole: false, finish: end.finish };
            let written = self.ends[side].write_stream(&RustCrypto, now, id, payload, &mut buf).unwrap();
            end.written += written.taken;
            end.finish_done = end.finish && end.written == end.intended;
            self.wire[1 - side].extend_from_slice(&buf[..written.len]);
            let other = self.streams[stream][1 - side].released;
            let most = other + YAMUX_WINDOW as usize;
            assert!(self.streams[stream][side].written <= most, "more than the window");
        }
        loop {
            let n = self.ends[side].poll_write(&RustCrypto, now, &mut buf);
            if n == 0 {
                break;
            }
            self.wire[1 - side].extend_from_slice(&buf[..n]);
        }
        while let Some(event) = self.ends[side].poll_event() {
            assert!(matches!(event, ChannelEvent::Ready { .. } | ChannelEvent::Pong { .. }), "{event:?}");
        }
    }

    fn hear(&mut self, side: usize, news: StreamNews) {
        match news {
            StreamNews::Accepted { stream: id, .. } => {
                // Streams of one side are accepted in the order in which they were opened.
                let by_peer =
                    |stream: &&mut [End; 2]| stream[1 - side].id == Some(id) && stream[side].id.is_none();
                let stream = self.streams.iter_mut().find(by_peer).expect("opened before it is accepted");
                stream[side].id = Some(id);
                stream[side].agreed = true;
            }
            StreamNews::Opened { stream: id, .. } => {
                let at = self.find(side, id);
                assert!(!core::mem::replace(&mut self.streams[at][side].agreed, true));
            }
            StreamNews::Data { .. } => {}
            StreamNews::Writable { stream: id } => drop(self.find(side, id)),
            StreamNews::Finished { stream: id } => {
                let at = self.find(side, id);
                let (end, other) = (&self.streams[at][side], &self.streams[at][1 - side]);
                assert!(
                    end.ended.is_none() && !end.finished && !end.reset_done,
                    "told once, and not too late"
                );
                assert!(other.finish_done && end.read == other.written, "after all bytes");
                self.streams[at][side].finished = true;
            }
            StreamNews::Ended { stream: id, end } => {
                let at = self.find(side, id);
                let place = &mut self.streams[at][side];
                assert!(place.ended.is_none() && !place.reset_done, "told once, and not too late");
                place.ended = Some(end);
            }
        }
    }

    /// Reads what is offered, as far as its user wants; whether anything moved.
    fn read(&mut self, side: usize) -> bool {
        let Some(offered) = self.ends[side].offered() else { return false };
        let at = self.find(side, offered.stream);
        let end = &mut self.streams[at][side];
        assert!(end.ended.is_none() && !end.reset_done, "bytes after the end");
        let n = offered.len.min(end.appetite);
        let bytes = &self.pending[side][offered.offset..offered.offset + n];
        let expected = (end.read..end.read + n).map(|i| byte(at, 1 - side, i));
        assert!(bytes.iter().copied().eq(expected), "other bytes than were sent");
        end.appetite -= n;
        end.read += n;
        self.bytes += n as u64;
        self.ends[side].take(offered.stream, n);
        n > 0
    }

    fn deliver(&mut self, chunk: usize, rounds: usize) -> bool {
        let mut any = false;
        for _ in 0..rounds {
            let mut moved = false;
            for side in 0..2 {
                self.act(side);
                let n = chunk.min(self.wire[side].len());
                let arrived: Vec<u8> = self.wire[side].drain(..n).collect();
                self.pending[side].extend(arrived);
                let taken = self.ends[side]
                    .handle_bytes(&RustCrypto, Instant::ZERO, &mut self.pending[side])
                    .unwrap();
                self.pending[side].drain(..taken);
                moved |= n > 0 || taken > 0;
                self.act(side);
                moved |= self.read(side);
            }
            moved |= self.wire.iter().any(|wire| !wire.is_empty());
            any |= moved;
            if !moved {
                break;
            }
        }
        any
    }

    fn release(&mut self, stream: usize, side: usize) {
        let end = &mut self.streams[stream][side];
        let n = end.read - end.released;
        end.released = end.read;
        if let Some(id) = end.id {
            self.ends[side].release(id, n);
        }
    }

    /// Everybody reads and releases until nothing moves.
    fn drain(&mut self) {
        loop {
            for stream in 0..self.streams.len() {
                for side in 0..2 {
                    self.streams[stream][side].appetite = usize::MAX / 2;
                    self.release(stream, side);
                }
            }
            if !self.deliver(50_000, 100) {
                break;
            }
        }
        assert_eq!(self.wire, [const { Vec::new() }; 2]);
        assert_eq!(self.pending, [const { Vec::new() }; 2], "nothing is stuck");
    }

    /// What came about is what was intended.
    fn check(&self, model: &Model) {
        let mut open = 0;
        for (intent, ends) in model.streams.iter().zip(&self.streams) {
            let resets = intent.reset[0] || intent.reset[1];
            for side in 0..2 {
                let (end, other) = (&ends[side], &ends[1 - side]);
                if !resets {
                    assert_eq!(end.read, intent.written[1 - side], "all bytes");
                    assert_eq!(end.finished, intent.finished[1 - side]);
                    let over = intent.finished == [true; 2];
                    assert_eq!(end.ended, over.then_some(StreamEnd::Finished));
                } else if end.ended == Some(StreamEnd::Finished) {
                    // It was over before the reset, for this side at least.
                    assert!(intent.finished == [true; 2] && end.read == other.written);
                } else if end.reset_done {
                    assert_eq!(end.ended, None, "who resets is told nothing");
                } else if end.id.is_some() {
                    let refused = StreamEnd::Refused;
                    assert!([Some(StreamEnd::ResetByPeer), Some(refused)].contains(&end.ended), "{end:?}");
                }
            }
            let over = |end: &End| end.ended.is_some() || end.reset_done || end.id.is_none();
            open += usize::from(!over(&ends[0]) || !over(&ends[1]));
        }
        for end in &self.ends {
            assert!(end.open_streams() <= open + 2, "{} for {open}", end.open_streams());
        }
    }
}

struct Run;

impl StateMachineTest for Run {
    type SystemUnderTest = Pair;
    type Reference = Yamux;

    fn init_test(_: &Model) -> Pair {
        Pair::new()
    }

    fn apply(mut pair: Pair, _: &Model, step: Step) -> Pair {
        match step {
            Step::Open { side } => {
                let mut stream = <[End; 2]>::default();
                stream[side].id = pair.ends[side].open_stream(Instant::ZERO, 0, true);
                assert!(stream[side].id.is_some());
                pair.streams.push(stream);
            }
            Step::Write { stream, side, len } => pair.streams[stream][side].intended += len,
            Step::Finish { stream, side } => pair.streams[stream][side].finish = true,
            Step::Reset { stream, side } => pair.streams[stream][side].reset = true,
            Step::Read { stream, side, len } => pair.streams[stream][side].appetite += len,
            Step::Release { stream, side } => pair.release(stream, side),
            Step::Ping { side } => drop(pair.ends[side].ping(Instant::ZERO)),
            Step::Deliver { chunk, rounds } => drop(pair.deliver(chunk, rounds)),
        }
        for side in 0..2 {
            pair.act(side);
        }
        pair
    }
}

#[test]
fn two_channels_do_what_their_users_intend() {
    let config = crate::testing::cases(32);
    println!("{} cases, seed {:?}", config.cases, config.rng_seed);
    let (mut steps, mut bytes, mut streams) = (0, 0, 0);
    let mut runner = TestRunner::new(config);
    let counts = core::cell::RefCell::new((&mut steps, &mut bytes, &mut streams));
    let result = runner.run(&Yamux::sequential_strategy(5..80), |(mut model, transitions, _)| {
        let mut pair = Run::init_test(&model);
        let count = transitions.len();
        for step in transitions {
            model = Yamux::apply(model, &step);
            pair = Run::apply(pair, &model, step);
        }
        pair.drain();
        pair.check(&model);
        let mut counts = counts.borrow_mut();
        *counts.0 += count;
        *counts.1 += pair.bytes;
        *counts.2 += pair.streams.len();
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    println!("{steps} steps, {streams} streams, {bytes} bytes read");
    assert!(steps > 100 && bytes > 100_000, "too little happened");
}
