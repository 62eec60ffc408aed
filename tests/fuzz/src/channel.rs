//! A channel whose peer is the fuzzer: Noise frames that always authenticate, and yamux inside them.

use std::time::Duration;

use coracle_core::{
    channel::{Channel, ChannelConfig, ChannelEvent, Payload, Protocols, StreamNews},
    crypto::{Identity, SecretKey, TAG_LEN},
    handshake::{Admitted, Initiator, Options, Responder, StaticKey},
    limits::{CHANNEL_READ_SIZE, CHANNEL_WRITE_SIZE, HANDSHAKE_WRITE_SIZE},
    rng::Seed,
    time::Instant,
};

use crate::{NullCrypto, input::Input, null_crypto::BAD_TAG};

/// Streams of the channel, both directions together.
const STREAMS: usize = 6;

/// The first byte decides on the role (1) and the early muxer (2); then comes one step after another.
pub fn channel(data: &[u8]) {
    let mut input = Input::new(data);
    let head = input.byte();
    let mut side = Side::new(head & 1 != 0, head & 2 != 0);
    while !input.is_empty() && !side.over {
        side.step(&mut input);
    }
    side.drain();
}

struct Side {
    channel: Channel,
    now: Instant,
    /// What arrived and was not taken.
    pending: Vec<u8>,
    buf: Vec<u8>,
    /// Streams that were told of and have not ended; bytes taken from each and not released.
    streams: Vec<(u32, usize)>,
    /// The channel has ended: nothing may come after that.
    over: bool,
}

impl Side {
    fn new(dials: bool, early_muxer: bool) -> Self {
        let config = ChannelConfig {
            streams: STREAMS,
            ping_interval: Some(Duration::from_secs(5)),
            protocols: Protocols::new(["/a", "/b"]).expect("two names"),
            ..ChannelConfig::default()
        };
        let mut rng = Seed::new([9; 32]).stream("channel");
        let now = Instant::from_millis(1);
        Self {
            channel: Channel::new(admitted(dials, early_muxer), now, config, &mut rng),
            now,
            pending: Vec::new(),
            buf: vec![0; CHANNEL_READ_SIZE],
            streams: Vec::new(),
            over: false,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        match what & 15 {
            0 => {
                let len = usize::from(input.byte());
                self.frame(input.slice(len), false);
            }
            1 => {
                // A yamux frame whose header and data agree.
                let (kind, flags, stream) = (input.byte() & 3, input.byte() & 15, input.byte() & 31);
                let length = u32::from(input.u16());
                let text = if kind == 0 { input.slice(length as usize) } else { &[] };
                let length = if kind == 0 { text.len() as u32 } else { length };
                let mut all = vec![0, kind, 0, flags, 0, 0, 0, stream];
                all.extend_from_slice(&length.to_be_bytes());
                all.extend_from_slice(text);
                self.frame(&all, false);
            }
            2 => {
                // A frame of any size, mostly zeros.
                let mut all = input.slice(12).to_vec();
                all.resize(usize::from(input.u16()).clamp(12, 65_535 - TAG_LEN), 0);
                self.frame(&all, false);
            }
            3 => drop(self.write(if what & 16 == 0 { CHANNEL_READ_SIZE } else { CHANNEL_WRITE_SIZE })),
            4 => {
                self.now = self.now + Duration::from_millis(100) * u32::from(input.byte());
                if self.channel.next_timeout().is_some_and(|at| at <= self.now) {
                    self.channel.handle_timeout(self.now);
                    assert!(self.channel.next_timeout().is_none_or(|at| at > self.now), "it would spin");
                }
            }
            5 => self.events(),
            6 => {
                let _ = self.channel.ping(self.now);
            }
            7 => {
                let len = usize::from(input.byte());
                if what & 16 != 0 {
                    self.pending.extend_from_slice(input.slice(len));
                } else {
                    self.frame(input.slice(len), true);
                }
            }
            8 => self.open(what >> 5 & 1),
            9 => self.news(if what & 16 == 0 { usize::MAX } else { usize::from(input.byte()) }),
            10 => self.write_stream(what & 16 != 0, input),
            11 => self.use_stream(what >> 4, input),
            12 => self.channel.close(self.now),
            _ => {}
        }
        self.offer();
    }

    fn open(&mut self, protocol: u8) {
        if let Some(stream) = self.channel.open_stream(self.now, protocol, true) {
            assert!(self.streams.iter().all(|(other, _)| *other != stream), "{stream} is open already");
            self.streams.push((stream, 0));
        }
    }

    /// Hears what streams have to tell, and takes so many of the bytes that each offers.
    fn news(&mut self, most: usize) {
        while let Some(news) = self.channel.poll_stream(true, |_| true) {
            match news {
                StreamNews::Accepted { stream, .. } => {
                    assert!(self.streams.iter().all(|(other, _)| *other != stream), "told twice");
                    self.streams.push((stream, 0));
                }
                StreamNews::Data { stream, offset, len } => {
                    assert!(len > 0 && offset + len <= self.pending.len(), "beyond what was received");
                    let n = len.min(most);
                    self.channel.take(stream, n);
                    let known = self.streams.iter_mut().find(|(other, _)| *other == stream);
                    known.expect("data of a stream that was told of").1 += n;
                    if n == len {
                        self.offer();
                    }
                }
                StreamNews::Ended { stream, .. } => {
                    let before = self.streams.len();
                    self.streams.retain(|(other, _)| *other != stream);
                    assert_eq!(self.streams.len() + 1, before, "{stream} ended twice");
                }
                StreamNews::Opened { .. } | StreamNews::Writable { .. } | StreamNews::Finished { .. } => {}
            }
        }
    }

    fn pick(&self, input: &mut Input<'_>) -> Option<usize> {
        usize::from(input.byte()).checked_rem(self.streams.len())
    }

    fn write_stream(&mut self, finish: bool, input: &mut Input<'_>) {
        let Some(i) = self.pick(input) else { return };
        let bytes = vec![0x2a; usize::from(input.u16())];
        let payload = Payload { bytes: &bytes, whole: false, finish };
        let (id, now) = (self.streams[i].0, self.now);
        let written = self.channel.write_stream(&NullCrypto, now, id, payload, &mut self.buf);
        if let Some(written) = written {
            assert!(written.taken <= bytes.len() && written.len <= self.buf.len());
            self.check_frame(written.len);
        }
    }

    fn use_stream(&mut self, how: u8, input: &mut Input<'_>) {
        let Some(i) = self.pick(input) else { return };
        let (id, held) = self.streams[i];
        match how & 3 {
            0 => {
                self.channel.release(id, held);
                self.streams[i].1 = 0;
            }
            1 => drop(self.channel.finish_stream(id)),
            2 => {
                self.streams.remove(i);
                self.channel.reset_stream(id);
            }
            _ => drop(self.channel.limit_stream(id, Some(self.now + Duration::from_secs(1)))),
        }
    }

    fn frame(&mut self, text: &[u8], bad: bool) {
        let len = u16::try_from(text.len() + TAG_LEN).expect("a frame fits");
        self.pending.extend_from_slice(&len.to_be_bytes());
        self.pending.extend_from_slice(text);
        self.pending.extend_from_slice(if bad { &BAD_TAG } else { &[0; TAG_LEN] });
    }

    fn offer(&mut self) -> usize {
        let taken = match self.channel.handle_bytes(&NullCrypto, self.now, &mut self.pending) {
            Ok(taken) => taken,
            Err(_) => self.pending.len(),
        };
        assert!(taken <= self.pending.len());
        self.pending.drain(..taken);
        assert!(self.channel.open_streams() <= STREAMS);
        taken
    }

    /// Writes one frame; what it holds is a row of yamux frames, or lines.
    fn write(&mut self, room: usize) -> usize {
        let n = self.channel.poll_write(&NullCrypto, self.now, &mut self.buf[..room]);
        assert!(n <= room);
        self.check_frame(n);
        n
    }

    fn check_frame(&self, n: usize) {
        if n > 0 {
            let text = n.checked_sub(2 + TAG_LEN).expect("a frame has a length and a tag");
            assert!(text > 0, "an empty frame is written");
            assert_eq!(usize::from(u16::from_be_bytes([self.buf[0], self.buf[1]])), text + TAG_LEN);
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.channel.poll_event() {
            assert!(!self.over, "{event:?} after the end");
            self.over = matches!(event, ChannelEvent::Closed { .. });
        }
    }

    /// Everything owed is written, every event is heard, every stream is read: then no whole frame may be left.
    fn drain(&mut self) {
        // What was left is offered again only after a release, which here comes at the end of a round.
        let mut quiet = 0;
        for round in 0.. {
            assert!(round < 10_000, "it writes for ever");
            // Streams that are read let further frames be taken too.
            let before = self.pending.len();
            self.events();
            self.news(usize::MAX);
            for (id, held) in &mut self.streams {
                self.channel.release(*id, std::mem::take(held));
            }
            let busy = self.write(CHANNEL_READ_SIZE) > 0 || self.offer() > 0 || self.pending.len() < before;
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet == 2 {
                break;
            }
        }
        self.events();
        self.offer();
        let whole = self
            .pending
            .first_chunk()
            .is_some_and(|len| self.pending.len() >= 2 + usize::from(u16::from_be_bytes(*len)));
        assert!(!whole, "{} bytes are never taken", self.pending.len());
        assert_eq!(self.over, self.channel.is_closed(), "the end is told once");
    }
}

/// A finished handshake with an honest peer.
fn admitted(dials: bool, early_muxer: bool) -> Admitted {
    let identity = |secret| Identity::new(NullCrypto, SecretKey::from_bytes(&[secret; 32]).expect("a key"));
    let (a, b) = (identity(1), identity(2));
    let mut rng = Seed::new([3; 32]).stream("handshake");
    let (a_key, b_key) = (StaticKey::new(&a, &mut rng), StaticKey::new(&b, &mut rng));
    let options = Options { expected: None, early_muxer };
    let mut dialler = Initiator::new(&a_key, &mut rng, options);
    let mut listener = Responder::new(&b_key, &mut rng, options);
    let mut buf = [0; HANDSHAKE_WRITE_SIZE];
    while !listener.is_finished() {
        let n = dialler.poll_write(&a, &mut buf);
        listener.handle_bytes(&b, &mut buf[..n]).expect("an honest peer");
        let n = listener.poll_write(&b, &mut buf);
        dialler.handle_bytes(&a, &mut buf[..n]).expect("an honest peer");
    }
    let finished = if dials { dialler.finish().ok() } else { listener.finish().ok() };
    finished.expect("both are through").admit(|_| true).expect("everybody is admitted")
}
