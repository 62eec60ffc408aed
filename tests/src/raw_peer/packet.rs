//! Packets (discv5 wire, "Packet Encoding"): every field can be set to anything.

use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use aes_gcm::{AeadInOut as _, Aes128Gcm, KeyInit as _};

/// An ordinary packet.
pub const ORDINARY: u8 = 0;
/// A challenge.
pub const WHOAREYOU: u8 = 1;
/// A handshake packet.
pub const HANDSHAKE: u8 = 2;

const IV: usize = 16;
const STATIC: usize = 23;
const TAG: usize = 16;

/// A packet with its header unmasked and its message as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the specification's
pub struct Packet {
    pub iv: [u8; IV],
    pub protocol: [u8; 6],
    pub version: u16,
    pub flag: u8,
    pub nonce: [u8; 12],
    /// Said in the header, whatever the length of `authdata`.
    pub authdata_size: u16,
    pub authdata: Vec<u8>,
    pub message: Vec<u8>,
}

impl Packet {
    /// A well-formed packet without a message.
    pub fn new(iv: [u8; IV], flag: u8, nonce: [u8; 12], authdata: Vec<u8>) -> Self {
        let authdata_size = authdata.len() as u16;
        let message = Vec::new();
        Self { iv, protocol: *b"discv5", version: 1, flag, nonce, authdata_size, authdata, message }
    }

    /// Masking IV and header, unmasked: the additional data of the message, and of a WHOAREYOU the
    /// challenge data.
    pub fn header(&self) -> Vec<u8> {
        let mut header = self.iv.to_vec();
        header.extend(self.protocol);
        header.extend(self.version.to_be_bytes());
        header.push(self.flag);
        header.extend(self.nonce);
        header.extend(self.authdata_size.to_be_bytes());
        header.extend(&self.authdata);
        header
    }

    /// Encrypts `text` as the message.
    pub fn seal(&mut self, key: &[u8; 16], text: &[u8]) {
        let mut message = text.to_vec();
        let header = self.header();
        let tag =
            cipher(key).encrypt_inout_detached(&self.nonce.into(), &header, message.as_mut_slice().into());
        message.extend(tag.unwrap());
        self.message = message;
    }

    /// The message decrypted; `None` when it does not authenticate.
    pub fn open(&self, key: &[u8; 16]) -> Option<Vec<u8>> {
        let (text, tag) = self.message.split_at_checked(self.message.len().checked_sub(TAG)?)?;
        let (mut text, tag) = (text.to_vec(), <[u8; TAG]>::try_from(tag).ok()?);
        let opened = cipher(key).decrypt_inout_detached(
            &self.nonce.into(),
            &self.header(),
            text.as_mut_slice().into(),
            &tag.into(),
        );
        opened.ok().map(|()| text)
    }

    /// The datagram for the node `dest`.
    pub fn encode(&self, dest: &[u8; 32]) -> Vec<u8> {
        let mut bytes = self.header();
        mask(dest, &self.iv, &mut bytes[IV..]);
        bytes.extend(&self.message);
        bytes
    }

    /// Reads a datagram for the node `local`.
    pub fn decode(local: &[u8; 32], bytes: &[u8]) -> Option<Self> {
        let iv: [u8; IV] = *bytes.first_chunk()?;
        let mut fixed: [u8; STATIC] = *bytes[IV..].first_chunk()?;
        mask(local, &iv, &mut fixed);
        let authdata_size = u16::from_be_bytes([fixed[21], fixed[22]]);
        let end = IV + STATIC + usize::from(authdata_size);
        let mut header = bytes.get(IV..end)?.to_vec();
        mask(local, &iv, &mut header);
        Some(Self {
            iv,
            protocol: *header.first_chunk()?,
            version: u16::from_be_bytes([header[6], header[7]]),
            flag: header[8],
            nonce: header[9..21].try_into().ok()?,
            authdata_size,
            authdata: header[STATIC..].to_vec(),
            message: bytes[end..].to_vec(),
        })
    }
}

fn cipher(key: &[u8; 16]) -> Aes128Gcm {
    Aes128Gcm::new(key.into())
}

fn mask(dest: &[u8; 32], iv: &[u8; IV], bytes: &mut [u8]) {
    let key: &[u8; 16] = dest.first_chunk().unwrap();
    ctr::Ctr128BE::<aes::Aes128>::new(key.into(), iv.into()).apply_keystream(bytes);
}
