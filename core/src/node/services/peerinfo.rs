//! `/charon/peerinfo/2.0.0`: one length-delimited protobuf each way, every minute.

use alloc::{string::String, vec::Vec};

use super::{
    super::{Node, Text},
    Service, Unwanted, delimit,
};
use crate::{
    crypto::Crypto,
    limits::{MAX_INFO_TEXT, MAX_LOCK_HASH},
    time::Instant,
    wire::protobuf::{Field, Fields, Value, Writer},
};

const VERSION: u32 = 1;
const LOCK_HASH: u32 = 2;
const SENT_AT: u32 = 3;
const GIT_HASH: u32 = 4;
const STARTED_AT: u32 = 5;
const BUILDER_API: u32 = 6;
const NICKNAME: u32 = 7;
const DV_CLIENT: u32 = 8;

/// Which client we are: a Charon compares versions with its own kind only.
const CLIENT: &str = "coracle";
/// Of a build whose commit is not known.
const UNKNOWN: &str = "unknown";

/// Why what the node says of itself is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalInfoError {
    /// Neither 7 lower-case hex digits nor `unknown`.
    #[error("git_hash is neither 7 lower-case hex digits nor `{UNKNOWN}`")]
    GitHash,
    /// The version or the nickname is longer than [`MAX_INFO_TEXT`] bytes.
    #[error("version and nickname have at most {MAX_INFO_TEXT} bytes")]
    Text,
    /// Longer than [`MAX_LOCK_HASH`] bytes.
    #[error("the lock hash has at most {MAX_LOCK_HASH} bytes")]
    LockHash,
}

/// What the node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalInfo {
    /// The version, `v1.2.3`; ours when empty.
    pub version: String,
    /// 7 hex digits of the commit, or `unknown`; the latter when empty.
    pub git_hash: String,
    /// The cluster's lock hash, 32 bytes; empty before there is a lock.
    pub lock_hash: Vec<u8>,
    /// Whether the builder API is enabled.
    pub builder_api: bool,
    /// The operator's name for the node.
    pub nickname: String,
}

impl LocalInfo {
    /// Nothing but the defaults.
    pub const fn new() -> Self {
        Self {
            version: String::new(),
            git_hash: String::new(),
            lock_hash: Vec::new(),
            builder_api: false,
            nickname: String::new(),
        }
    }

    pub(in crate::node) fn check(&self) -> Result<(), LocalInfoError> {
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let hash = self.git_hash.as_bytes();
        if !(hash.is_empty() || self.git_hash == UNKNOWN || hash.len() == 7 && hash.iter().all(hex)) {
            return Err(LocalInfoError::GitHash);
        }
        if self.version.len() > MAX_INFO_TEXT || self.nickname.len() > MAX_INFO_TEXT {
            return Err(LocalInfoError::Text);
        }
        if self.lock_hash.len() > MAX_LOCK_HASH {
            return Err(LocalInfoError::LockHash);
        }
        Ok(())
    }
}

impl Default for LocalInfo {
    fn default() -> Self {
        Self::new()
    }
}

/// What a member says of itself. Texts are cut to [`MAX_INFO_TEXT`] printable characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its version.
    pub version: Text<MAX_INFO_TEXT>,
    /// The commit it was built from, or `unknown`.
    pub git_hash: Text<7>,
    /// Its client; `charon`, if it does not say.
    pub dv_client: Text<MAX_INFO_TEXT>,
    /// Its operator's name for it.
    pub nickname: Text<MAX_INFO_TEXT>,
    /// Whether its lock hash is ours; `None` unless both sides have one.
    pub same_lock: Option<bool>,
    /// Whether its builder API is enabled.
    pub builder_api: bool,
    /// When it says it sent this, in milliseconds since 1970.
    pub sent_at_ms: Option<u64>,
    /// When it says it started, in milliseconds since 1970.
    pub started_at_ms: Option<u64>,
    /// Its clock less ours, in milliseconds, as far as the round trip tells.
    pub clock_offset_ms: i64,
}

impl PeerInfo {
    pub(super) const fn empty() -> Self {
        Self {
            version: Text::new(),
            git_hash: Text::new(),
            dv_client: Text::new(),
            nickname: Text::new(),
            same_lock: None,
            builder_api: false,
            sent_at_ms: None,
            started_at_ms: None,
            clock_offset_ms: 0,
        }
    }

    pub(super) fn read(&mut self, field: &Field<'_>, local: &LocalInfo) -> Result<(), Unwanted> {
        match (field.number, field.value) {
            (VERSION, Value::Bytes(text)) => self.version = Text::printable(text),
            (LOCK_HASH, Value::Bytes(hash)) => {
                let both = !hash.is_empty() && !local.lock_hash.is_empty();
                self.same_lock = both.then_some(hash == local.lock_hash);
            }
            (SENT_AT, Value::Bytes(bytes)) => self.sent_at_ms = Some(read_timestamp(bytes)?),
            (GIT_HASH, Value::Bytes(text)) => self.git_hash = Text::printable(text),
            (STARTED_AT, Value::Bytes(bytes)) => self.started_at_ms = Some(read_timestamp(bytes)?),
            (BUILDER_API, Value::Varint(value)) => self.builder_api = value != 0,
            (NICKNAME, Value::Bytes(text)) => self.nickname = Text::printable(text),
            (DV_CLIENT, Value::Bytes(text)) => self.dv_client = Text::printable(text),
            (VERSION..=DV_CLIENT, _) => return Err(Unwanted),
            _ => {}
        }
        Ok(())
    }
}

impl<C: Crypto> Node<C> {
    /// What we say, with its length before it.
    pub(super) fn write_peer_info(&self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let local = &self.services.local;
        let version =
            if local.version.is_empty() { concat!("v", env!("CARGO_PKG_VERSION")) } else { &local.version };
        let git_hash = if local.git_hash.is_empty() { UNKNOWN } else { &local.git_hash };
        let (mut sent, mut started) = ([0; 24], [0; 24]);
        let sent_len = write_timestamp(self.services.wall_ms(now), &mut sent)?;
        let started_len = write_timestamp(self.services.started_ms, &mut started)?;
        delimit(out, |out| {
            let mut writer = Writer::new(out);
            writer.bytes(VERSION, version.as_bytes());
            if !local.lock_hash.is_empty() {
                writer.bytes(LOCK_HASH, &local.lock_hash);
            }
            writer.bytes(SENT_AT, sent.get(..sent_len)?);
            writer.bytes(GIT_HASH, git_hash.as_bytes());
            writer.bytes(STARTED_AT, started.get(..started_len)?);
            if local.builder_api {
                writer.varint(BUILDER_API, 1);
            }
            if !local.nickname.is_empty() {
                writer.bytes(NICKNAME, local.nickname.as_bytes());
            }
            writer.bytes(DV_CLIENT, CLIENT.as_bytes());
            writer.finish()
        })
    }

    /// A member's message is whole: asked, it is answered; the answer to ours says how its clock stands.
    pub(super) fn peer_info_read(&mut self, now: Instant, service: &mut Service) {
        let mut info = core::mem::replace(&mut service.info, PeerInfo::empty());
        if !service.ours {
            service.writes = true;
            return;
        }
        if info.dv_client.is_empty() {
            info.dv_client = Text::printable(b"charon");
        }
        // Without both timestamps it is no valid answer.
        let (Some(sent), Some(asked)) =
            (info.sent_at_ms.filter(|_| info.started_at_ms.is_some()), service.asked_at)
        else {
            self.counters.peer_infos_refused += 1;
            return;
        };
        let half = u64::try_from(now.since(asked).as_millis() / 2).unwrap_or(0);
        let expected = self.services.wall_ms(now).saturating_sub(half);
        info.clock_offset_ms = i64::try_from(i128::from(sent) - i128::from(expected)).unwrap_or(i64::MAX);
        if let Some(peer) = self.services.peer(service.member) {
            peer.info = Some(info);
        }
    }
}

/// A `google.protobuf.Timestamp` in milliseconds since 1970; one before that is 1970.
fn read_timestamp(bytes: &[u8]) -> Result<u64, Unwanted> {
    let (mut seconds, mut nanos) = (0i64, 0u64);
    for field in Fields::new(bytes) {
        match field.map_err(|_| Unwanted)? {
            Field { number: 1, value: Value::Varint(value) } => seconds = value.cast_signed(),
            Field { number: 2, value: Value::Varint(value) } => nanos = value.min(999_999_999),
            _ => {}
        }
    }
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Ok(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000))
}

fn write_timestamp(ms: u64, out: &mut [u8]) -> Option<usize> {
    Writer::new(out).varint(1, ms / 1_000).varint(2, ms % 1_000 * 1_000_000).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        let mut out = [0; 24];
        for ms in [0, 1_700_000_000_123, u64::MAX / 2] {
            let n = write_timestamp(ms, &mut out).unwrap();
            assert_eq!(read_timestamp(&out[..n]).unwrap(), ms);
        }
        let n = Writer::new(&mut out).varint(1, u64::MAX).finish().unwrap();
        assert_eq!(read_timestamp(&out[..n]).unwrap(), 0, "before 1970");
        assert!(read_timestamp(&[8]).is_err());
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let info = |f: fn(&mut LocalInfo)| {
            let mut info = LocalInfo::new();
            f(&mut info);
            info.check()
        };
        assert_eq!(info(|info| info.git_hash = "0a1b2c3".into()), Ok(()));
        assert_eq!(info(|info| info.git_hash = "unknown".into()), Ok(()));
        assert_eq!(info(|info| info.git_hash = "0A1b2c3".into()), Err(LocalInfoError::GitHash));
        assert_eq!(info(|info| info.nickname = "n".repeat(99)), Err(LocalInfoError::Text));
        assert_eq!(info(|info| info.lock_hash = alloc::vec![0; 33]), Err(LocalInfoError::LockHash));
    }
}
