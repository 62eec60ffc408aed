//! Packets: the masked header and the three kinds (discv5 wire, "Packet Encoding").
//!
//! A packet is decoded in place: the header is unmasked where it stands, the message stays
//! encrypted. It is encoded in place too: [`begin`] writes the header, the caller its message, and
//! [`seal`] encrypts the message and masks the header. Nothing allocates.

use core::ops::Range;

use crate::{
    crypto::{Crypto, Signature, TAG_LEN, packet_mask},
    id::NodeId,
    limits::{MAX_PACKET_SIZE, MIN_PACKET_SIZE},
};

/// The nonce of a packet; a WHOAREYOU repeats the one it answers.
pub type Nonce = [u8; 12];
/// The random start of a packet, which its header is masked with.
pub type MaskingIv = [u8; 16];
/// A whole WHOAREYOU, unmasked: what the keys and the signature of a handshake are bound to.
pub type ChallengeData = [u8; MIN_PACKET_SIZE];

/// Bytes of the masking IV.
const IV_LEN: usize = 16;
/// Bytes of the static header.
const STATIC_LEN: usize = 23;
/// Where the authdata begins.
const AUTH_START: usize = IV_LEN + STATIC_LEN;
const PROTOCOL: &[u8; 6] = b"discv5";
const VERSION: [u8; 2] = [0, 1];

/// Size of an ordinary packet's authdata.
const MESSAGE_AUTH: usize = 32;

const FLAG_MESSAGE: u8 = 0;
const FLAG_WHOAREYOU: u8 = 1;
const FLAG_HANDSHAKE: u8 = 2;

/// `authdata` of a handshake before the signature: `src-id`, `sig-size`, `eph-key-size`.
const HANDSHAKE_HEAD: usize = 34;
/// Size of an id signature of the scheme "v4".
const SIGNATURE_LEN: u8 = 64;
/// Size of an ephemeral public key of the scheme "v4".
const EPHEMERAL_LEN: u8 = 33;

const _: () = assert!(AUTH_START + 24 == MIN_PACKET_SIZE);

/// Why bytes are not a packet for us, or why one could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Below 63 or above 1280 bytes.
    #[error("a discv5 packet has 63 to 1280 bytes")]
    Size,
    /// The unmasked header does not say "discv5" version 1: not this protocol, or not for this node.
    #[error("not a discv5 v5.1 packet for this node")]
    Protocol,
    /// The kind of packet is unknown.
    #[error("unknown discv5 packet kind")]
    Flag,
    /// The authdata does not have the form of its kind.
    #[error("malformed authdata of a discv5 packet")]
    Authdata,
    /// The buffer is too small.
    #[error("the buffer is too small for the packet")]
    BufferTooSmall,
}

/// What the header of a packet says about its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth<'a> {
    /// An ordinary message.
    Message {
        /// Who claims to have sent it.
        src: NodeId,
    },
    /// A challenge.
    WhoAreYou {
        /// The unmasked packet.
        data: &'a ChallengeData,
        /// The sequence number of our record that the challenger has; 0 for none.
        enr_seq: u64,
    },
    /// A message that opens a session.
    Handshake {
        /// Who claims to have sent it.
        src: NodeId,
        /// The id signature.
        signature: Signature,
        /// The compressed ephemeral public key.
        ephemeral: &'a [u8; 33],
        /// The sender's record as RLP; empty when it was left out.
        record: &'a [u8],
    },
}

/// A decoded packet. The message is still encrypted.
#[derive(Debug)]
pub struct Packet<'a> {
    /// The nonce.
    pub nonce: Nonce,
    /// What the header says.
    pub auth: Auth<'a>,
    /// Masking IV and unmasked header: the additional data of the encryption.
    pub header: &'a [u8],
    /// The encrypted message with its tag.
    pub message: &'a mut [u8],
}

/// Unmasks the header of `bytes`, a packet to `local`, in place and reads it. Who has many to read keeps the
/// masking key ready: [`decode_with`].
///
/// When this fails the bytes may be partly unmasked.
pub fn decode<'a, C: Crypto>(
    crypto: &C,
    local: &NodeId,
    bytes: &'a mut [u8],
) -> Result<Packet<'a>, PacketError> {
    decode_with(crypto, &packet_mask(crypto, local), bytes)
}

/// The same, with the masking key of the node that the packet is for.
pub fn decode_with<'a, C: Crypto>(
    crypto: &C,
    mask: &C::AesCtrKey,
    bytes: &'a mut [u8],
) -> Result<Packet<'a>, PacketError> {
    if !(MIN_PACKET_SIZE..=MAX_PACKET_SIZE).contains(&bytes.len()) {
        return Err(PacketError::Size);
    }
    let iv = masking_iv(bytes);
    // One pass for all but handshakes: most of the cost is in setting the cipher up.
    let first = bytes.len().min(AUTH_START + MESSAGE_AUTH);
    crypto.aes_ctr(mask, &iv, 0, &mut bytes[IV_LEN..first]);
    let fixed = &bytes[IV_LEN..AUTH_START];
    if fixed[..6] != *PROTOCOL || fixed[6..8] != VERSION {
        return Err(PacketError::Protocol);
    }
    let flag = fixed[8];
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&fixed[9..21]);
    let end = AUTH_START + usize::from(u16::from_be_bytes([fixed[21], fixed[22]]));
    // No kind has less authdata with more behind it, and of that nothing must be unmasked.
    let rest = bytes.get_mut(first..end).ok_or(PacketError::Authdata)?;
    if !rest.is_empty() {
        crypto.aes_ctr(mask, &iv, first - IV_LEN, rest);
    }
    let (header, message) = bytes.split_at_mut(end);
    let header: &[u8] = header;
    let auth = match flag {
        FLAG_MESSAGE => message_auth(&header[AUTH_START..])?,
        FLAG_WHOAREYOU if message.is_empty() => whoareyou_auth(header)?,
        FLAG_HANDSHAKE => handshake_auth(&header[AUTH_START..])?,
        FLAG_WHOAREYOU => return Err(PacketError::Authdata),
        _ => return Err(PacketError::Flag),
    };
    Ok(Packet { nonce, auth, header, message })
}

fn message_auth(authdata: &[u8]) -> Result<Auth<'_>, PacketError> {
    let src = authdata.try_into().map_err(|_| PacketError::Authdata)?;
    Ok(Auth::Message { src: NodeId(src) })
}

fn whoareyou_auth(header: &[u8]) -> Result<Auth<'_>, PacketError> {
    let data: &ChallengeData = header.try_into().map_err(|_| PacketError::Authdata)?;
    Ok(Auth::WhoAreYou { data, enr_seq: claimed_seq(data) })
}

/// The sequence number of the receiver's record that the sender of a WHOAREYOU has; 0 for none.
pub(super) fn claimed_seq(data: &ChallengeData) -> u64 {
    data.last_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// The nonce of the packet that a WHOAREYOU answers.
#[cfg(feature = "alloc")]
pub(super) fn answered_nonce(data: &ChallengeData) -> Nonce {
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&data[IV_LEN + 9..IV_LEN + 21]);
    nonce
}

fn handshake_auth(authdata: &[u8]) -> Result<Auth<'_>, PacketError> {
    let (src, rest) = authdata.split_first_chunk::<32>().ok_or(PacketError::Authdata)?;
    let rest = rest.strip_prefix(&[SIGNATURE_LEN, EPHEMERAL_LEN]).ok_or(PacketError::Authdata)?;
    let (signature, rest) = rest.split_first_chunk::<64>().ok_or(PacketError::Authdata)?;
    let (ephemeral, record) = rest.split_first_chunk::<33>().ok_or(PacketError::Authdata)?;
    Ok(Auth::Handshake { src: NodeId(*src), signature: Signature(*signature), ephemeral, record })
}

/// Where the message of a packet that was begun goes, and how long it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    nonce: Nonce,
    header: usize,
}

impl Draft {
    /// Where in the buffer the message belongs. Its end leaves room for the tag.
    pub const fn message(&self) -> Range<usize> {
        self.header..MAX_PACKET_SIZE - TAG_LEN
    }
}

/// Writes the header of a packet with the given `auth` into `buf`, unmasked. For
/// [`Auth::WhoAreYou`] use [`whoareyou`].
pub fn begin(iv: &MaskingIv, nonce: &Nonce, auth: &Auth<'_>, buf: &mut [u8]) -> Result<Draft, PacketError> {
    let mut out = Out { buf, len: 0 };
    match auth {
        Auth::Message { src } => {
            out.header(iv, FLAG_MESSAGE, nonce, 32)?;
            out.put(&src.0)?;
        }
        Auth::Handshake { src, signature, ephemeral, record } => {
            let len = HANDSHAKE_HEAD + signature.0.len() + ephemeral.len() + record.len();
            let len = u16::try_from(len).map_err(|_| PacketError::BufferTooSmall)?;
            out.header(iv, FLAG_HANDSHAKE, nonce, len)?;
            out.put(&src.0)?;
            out.put(&[SIGNATURE_LEN, EPHEMERAL_LEN])?;
            out.put(&signature.0)?;
            out.put(*ephemeral)?;
            out.put(record)?;
        }
        Auth::WhoAreYou { .. } => return Err(PacketError::Authdata),
    }
    Ok(Draft { nonce: *nonce, header: out.len })
}

/// Encrypts the `len` bytes of message that stand in `buf` after the header, masks the header, and
/// returns the length of the packet. Who has many to write keeps the masking key ready: [`seal_with`].
pub fn seal<C: Crypto>(
    crypto: &C,
    dest: &NodeId,
    key: &C::AesGcmKey,
    draft: &Draft,
    len: usize,
    buf: &mut [u8],
) -> Result<usize, PacketError> {
    seal_with(crypto, &packet_mask(crypto, dest), key, draft, len, buf)
}

/// The same, with the masking key of the node that the packet is for.
pub fn seal_with<C: Crypto>(
    crypto: &C,
    mask: &C::AesCtrKey,
    key: &C::AesGcmKey,
    draft: &Draft,
    len: usize,
    buf: &mut [u8],
) -> Result<usize, PacketError> {
    let end = draft.header.checked_add(len).ok_or(PacketError::BufferTooSmall)?;
    let packet = buf.get_mut(..end + TAG_LEN).ok_or(PacketError::BufferTooSmall)?;
    if packet.len() > MAX_PACKET_SIZE {
        return Err(PacketError::Size);
    }
    let (header, rest) = packet.split_at_mut(draft.header);
    let (message, tag) = rest.split_at_mut(len);
    tag.copy_from_slice(&crypto.aes_gcm_seal(key, &draft.nonce, header, message));
    let iv = masking_iv(header);
    crypto.aes_ctr(mask, &iv, 0, &mut header[IV_LEN..]);
    Ok(end + TAG_LEN)
}

/// Masks the header of a packet whose "message" is random bytes that stand in `buf` already: the
/// packet that asks for a WHOAREYOU (discv5 theory, "Handshake Steps", step 1).
pub fn seal_random<C: Crypto>(
    crypto: &C,
    dest: &NodeId,
    draft: &Draft,
    len: usize,
    buf: &mut [u8],
) -> Result<usize, PacketError> {
    let end = draft.header.checked_add(len).ok_or(PacketError::BufferTooSmall)?;
    let header = buf.get_mut(..end).and_then(|b| b.get_mut(..draft.header));
    let header = header.ok_or(PacketError::BufferTooSmall)?;
    let iv = masking_iv(header);
    crypto.aes_ctr(&packet_mask(crypto, dest), &iv, 0, &mut header[IV_LEN..]);
    Ok(end)
}

/// The unmasked WHOAREYOU that answers the packet with `nonce`.
#[inline]
pub fn whoareyou(iv: &MaskingIv, nonce: &Nonce, id_nonce: &[u8; 16], enr_seq: u64) -> ChallengeData {
    let mut data = [0; MIN_PACKET_SIZE];
    let mut out = Out { buf: &mut data, len: 0 };
    let written = out
        .header(iv, FLAG_WHOAREYOU, nonce, 24)
        .and_then(|()| out.put(id_nonce))
        .and_then(|()| out.put(&enr_seq.to_be_bytes()));
    debug_assert!(written.is_ok(), "the parts have fixed sizes");
    data
}

/// Masks a WHOAREYOU for `dest` into `buf` and returns its length.
pub fn seal_whoareyou<C: Crypto>(
    crypto: &C,
    dest: &NodeId,
    data: &ChallengeData,
    buf: &mut [u8],
) -> Result<usize, PacketError> {
    let packet = buf.get_mut(..MIN_PACKET_SIZE).ok_or(PacketError::BufferTooSmall)?;
    packet.copy_from_slice(data);
    crypto.aes_ctr(&packet_mask(crypto, dest), &masking_iv(data), 0, &mut packet[IV_LEN..]);
    Ok(MIN_PACKET_SIZE)
}

/// The first 16 bytes; every caller has at least a static header.
fn masking_iv(bytes: &[u8]) -> MaskingIv {
    bytes.first_chunk().copied().unwrap_or_default()
}

struct Out<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), PacketError> {
        let end = self.len + bytes.len();
        self.buf.get_mut(self.len..end).ok_or(PacketError::BufferTooSmall)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    #[inline]
    fn header(&mut self, iv: &MaskingIv, flag: u8, nonce: &Nonce, authdata: u16) -> Result<(), PacketError> {
        let mut fixed = [0; STATIC_LEN];
        fixed[..6].copy_from_slice(PROTOCOL);
        fixed[6..8].copy_from_slice(&VERSION);
        fixed[8] = flag;
        fixed[9..21].copy_from_slice(nonce);
        fixed[21..].copy_from_slice(&authdata.to_be_bytes());
        self.put(iv)?;
        self.put(&fixed)
    }
}
