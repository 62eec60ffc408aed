//! Channels against each other in memory, and against a raw peer that says what it likes.

use alloc::{vec, vec::Vec};

use super::*;
use crate::{
    crypto::RustCrypto,
    handshake::{
        Options,
        tests::{QUIET, finished_pair},
    },
    rng::Seed,
};

mod model;
mod pairs;
mod raw;
mod streams;
mod violations;

const MS: u64 = 1_000_000;

/// No pings but those a test asks for.
fn silent() -> ChannelConfig {
    ChannelConfig { ping_interval: None, ..ChannelConfig::default() }
}

fn channel(finished: crate::handshake::Finished, config: ChannelConfig) -> Channel {
    let mut rng = Seed::new([5; 32]).stream("channel");
    Channel::new(finished.admit(|_| true).unwrap(), Instant::ZERO, config, &mut rng)
}

fn events(channel: &mut Channel) -> Vec<ChannelEvent> {
    core::iter::from_fn(|| channel.poll_event()).collect()
}

/// A peer that speaks Noise properly and anything inside it: the dialled side has a real channel.
struct Raw {
    send: CipherState,
    receive: CipherState,
    channel: Channel,
    /// Bytes that the channel has not taken yet.
    pending: Vec<u8>,
    now: Instant,
}

impl Raw {
    /// The raw peer dialled.
    fn dialling(config: ChannelConfig) -> Self {
        let (a, b) = finished_pair(Options::default(), Options::default());
        Self::new(a, b, config)
    }

    /// The channel dialled.
    fn dialled(config: ChannelConfig) -> Self {
        let (a, b) = finished_pair(Options::default(), Options::default());
        Self::new(b, a, config)
    }

    fn new(raw: crate::handshake::Finished, real: crate::handshake::Finished, config: ChannelConfig) -> Self {
        let early = real.early_muxer();
        let (send, receive) = raw.admit(|_| true).unwrap().into_ciphers();
        let mut raw =
            Self { send, receive, channel: channel(real, config), pending: Vec::new(), now: Instant::ZERO };
        if early {
            assert_eq!(raw.channel.poll_event(), Some(ChannelEvent::Ready { early }));
        }
        raw
    }

    /// Sends `text` as one Noise frame.
    fn say(&mut self, text: &[u8]) -> Result<(), ChannelError> {
        let mut sealed = text.to_vec();
        let tag = self.send.seal(&RustCrypto, &[], &mut sealed).unwrap();
        sealed.extend(tag);
        self.pending.extend((sealed.len() as u16).to_be_bytes());
        self.pending.extend(sealed);
        self.offer()
    }

    /// Offers what is pending again.
    fn offer(&mut self) -> Result<(), ChannelError> {
        let n = self.channel.handle_bytes(&RustCrypto, self.now, &mut self.pending)?;
        self.pending.drain(..n);
        Ok(())
    }

    /// Everything the channel writes now, decrypted.
    fn hear(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        let mut buf = vec![0; 4096];
        loop {
            let n = self.channel.poll_write(&RustCrypto, self.now, &mut buf);
            if n == 0 {
                return heard;
            }
            let len = self.receive.open(&RustCrypto, &[], &mut buf[2..n]).unwrap();
            heard.extend_from_slice(&buf[2..2 + len]);
        }
    }

    /// The same as yamux frames: headers and their data.
    fn hear_frames(&mut self) -> Vec<(Header, Vec<u8>)> {
        let heard = self.hear();
        let mut rest = &heard[..];
        let mut frames = Vec::new();
        while let Some((header, tail)) = rest.split_first_chunk() {
            let header = Header::decode(header).unwrap();
            let len = if header.kind == Kind::Data { header.length as usize } else { 0 };
            frames.push((header, tail[..len].to_vec()));
            rest = &tail[len..];
        }
        assert!(rest.is_empty());
        frames
    }
}

fn frame(kind: Kind, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    Header::new(kind, flags, stream, length).encode().to_vec()
}

fn data(flags: u16, stream: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = frame(Kind::Data, flags, stream, bytes.len() as u32);
    out.extend_from_slice(bytes);
    out
}

const HELLO_PING: &[u8] = b"\x13/multistream/1.0.0\n\x11/ipfs/ping/1.0.0\n";

/// Rule N7, as for the handshake that it is made from.
#[test]
fn a_channel_wipes_itself() {
    const fn wipes<T: zeroize::ZeroizeOnDrop>() {}
    const { wipes::<Channel>() }
}

#[test]
fn a_channel_holds_what_its_limits_say() {
    assert!(size_of::<Channel>() <= 2048, "{}", size_of::<Channel>());
    let stream = size_of::<Option<stream::Stream>>();
    assert!(stream <= 304, "{stream}");
}
