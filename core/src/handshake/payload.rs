//! The identity payload of messages 2 and 3 (noise-libp2p, "The libp2p Handshake Payload") and the
//! static key it vouches for.

use super::{error::HandshakeError, wipe::wipes_by_its_fields, xx::KeyPair};
use crate::{
    crypto::{Crypto, Identity, PublicKey, Secret, der},
    id::PeerId,
    limits::MAX_OWN_PAYLOAD,
    rng::Rng,
    wire::protobuf::{Fields, Writer},
    zoo::{self, Bug},
};

/// Name of the muxer that we speak.
pub(crate) const YAMUX: &[u8] = b"/yamux/1.0.0";

/// What an identity signs: this, then the static key.
const SIGNED_PREFIX: &[u8] = b"noise-libp2p-static-key:";
/// `PublicKey { type: Secp256k1, data: 33 bytes }` (peer-ids, "Keys"), before the data.
const KEY_PREFIX: [u8; 4] = [0x08, 0x02, 0x12, 0x21];
const KEY_LEN: usize = KEY_PREFIX.len() + 33;

// Fields of `NoiseHandshakePayload`, and of `NoiseExtensions` inside it.
const IDENTITY_KEY: u32 = 1;
const IDENTITY_SIG: u32 = 2;
const EXTENSIONS: u32 = 4;
const STREAM_MUXERS: u32 = 2;
/// `extensions: { stream_muxers: ["/yamux/1.0.0"] }`, as it is on the wire.
const NAMED_YAMUX: &[u8] = b"\x22\x0e\x12\x0c/yamux/1.0.0";

/// The node's Noise static key, with its identity's signature over it: made once a start, used for
/// all handshakes, never stored. Wiped on drop.
#[derive(Clone, Debug)]
pub struct StaticKey {
    pub(super) pair: KeyPair,
    /// Fields 1 and 2 of the payload, encoded.
    signed: heapless::Vec<u8, MAX_OWN_PAYLOAD>,
    peer_id: PeerId,
}

wipes_by_its_fields!(StaticKey { secret: pair; public: signed, peer_id });

impl StaticKey {
    /// Draws a key and signs it.
    pub fn new<C: Crypto>(identity: &Identity<C>, rng: &mut Rng) -> Self {
        Self::from_secret(identity, Secret::new(rng.array()))
    }

    pub(super) fn from_secret<C: Crypto>(identity: &Identity<C>, secret: Secret<32>) -> Self {
        let pair = KeyPair::new(identity.crypto(), secret);
        let signature = identity.sign(&signed_digest(identity.crypto(), &pair.public));
        let mut key = [0; KEY_LEN];
        key[..KEY_PREFIX.len()].copy_from_slice(&KEY_PREFIX);
        key[KEY_PREFIX.len()..].copy_from_slice(&identity.public_key().compressed());

        let mut encoded = [0; MAX_OWN_PAYLOAD];
        let mut der = [0; der::MAX_LEN];
        let len = Writer::new(&mut encoded)
            .bytes(IDENTITY_KEY, &key)
            .bytes(IDENTITY_SIG, der::encode(&signature, &mut der))
            .finish();
        // It fits by the arithmetic of `MAX_OWN_PAYLOAD`.
        debug_assert!(len.is_some());
        let signed = encoded.get(..len.unwrap_or(0)).and_then(|bytes| heapless::Vec::from_slice(bytes).ok());
        Self { pair, signed: signed.unwrap_or_default(), peer_id: identity.peer_id() }
    }

    /// Whose key this is.
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Writes the payload at the start of `out`; `None` when it does not fit.
    pub(super) fn write_payload(&self, early_muxer: bool, out: &mut [u8]) -> Option<usize> {
        let muxer: &[u8] = if early_muxer { NAMED_YAMUX } else { &[] };
        let len = self.signed.len() + muxer.len();
        let (head, tail) = out.get_mut(..len)?.split_at_mut_checked(self.signed.len())?;
        head.copy_from_slice(&self.signed);
        tail.copy_from_slice(muxer);
        Some(len)
    }
}

/// What the peer said about muxers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Muxers {
    Unnamed,
    Yamux,
    Others,
}

/// Checks the peer's payload against its static key; returns its identity and its muxers.
pub(super) fn verify<C: Crypto>(
    identity: &Identity<C>,
    remote_static: &[u8; 32],
    payload: &[u8],
) -> Result<(PublicKey, Muxers), HandshakeError> {
    let (mut key, mut signature, mut muxers) = (None, None, Muxers::Unnamed);
    for field in Fields::new(payload) {
        let field = field?;
        match field.number {
            IDENTITY_KEY => key = Some(field.bytes()?),
            IDENTITY_SIG => signature = Some(field.bytes()?),
            EXTENSIONS => muxers = read_muxers(field.bytes()?, muxers)?,
            _ => {}
        }
    }
    let crypto = identity.crypto();
    let key = key.and_then(|key| key.strip_prefix(&KEY_PREFIX)).and_then(|key| key.try_into().ok());
    let key = key.and_then(|key| crypto.decompress(key)).ok_or(HandshakeError::IdentityKey)?;
    // Before the costly check: nobody but ourselves can have signed with our key.
    if key == *identity.public_key() {
        return Err(HandshakeError::OwnKey);
    }
    let signature = signature.and_then(der::decode).ok_or(HandshakeError::Identity)?;
    let holds = crypto.verify(&key, &signed_digest(crypto, remote_static), &signature);
    if !holds && !zoo::has(Bug::SignatureUnchecked) {
        return Err(HandshakeError::Identity);
    }
    Ok((key, muxers))
}

fn read_muxers(extensions: &[u8], mut found: Muxers) -> Result<Muxers, HandshakeError> {
    for field in Fields::new(extensions) {
        let field = field?;
        if field.number == STREAM_MUXERS {
            match field.bytes()? {
                YAMUX => found = Muxers::Yamux,
                _ if found == Muxers::Unnamed => found = Muxers::Others,
                _ => {}
            }
        }
    }
    Ok(found)
}

fn signed_digest(crypto: &impl Crypto, static_key: &[u8; 32]) -> [u8; 32] {
    crypto.sha256(&[SIGNED_PREFIX, static_key])
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{crypto::RustCrypto, handshake::tests::identity, rng::Seed, wire::protobuf::ProtobufError};

    fn static_key() -> StaticKey {
        StaticKey::new(&identity(2), &mut Seed::new([2; 32]).stream("static key"))
    }

    /// What node 1 makes of this payload, with node 2's static key.
    fn read(payload: &[u8]) -> Result<(PublicKey, Muxers), HandshakeError> {
        verify(&identity(1), &static_key().pair.public, payload)
    }

    fn field(number: u32, value: &[u8]) -> Vec<u8> {
        let mut out = [0; 256];
        let len = Writer::new(&mut out).bytes(number, value).finish().unwrap();
        out[..len].to_vec()
    }

    fn signature(static_key: &[u8; 32]) -> Vec<u8> {
        let signature = identity(2).sign(&signed_digest(&RustCrypto, static_key));
        der::encode(&signature, &mut [0; der::MAX_LEN]).to_vec()
    }

    #[test]
    fn muxers_are_what_the_peer_names() {
        const OTHER: &[u8] = b"/mplex/6.7.0";
        for (named, muxers) in [
            (&[][..], Muxers::Unnamed),
            (&[YAMUX], Muxers::Yamux),
            (&[OTHER], Muxers::Others),
            (&[OTHER, YAMUX], Muxers::Yamux),
            (&[YAMUX, OTHER], Muxers::Yamux),
        ] {
            // A field that we do not know names no muxer.
            let mut fields = [&[field(1, YAMUX)][..], &[]].concat();
            fields.extend(named.iter().map(|name| field(STREAM_MUXERS, name)));
            let signed = static_key().signed.to_vec();
            let together = [signed.clone(), field(EXTENSIONS, &fields.concat())].concat();
            let each = fields.iter().flat_map(|one| field(EXTENSIONS, one));
            let apart: Vec<u8> = signed.into_iter().chain(each).collect();
            for payload in [together, apart] {
                assert_eq!(read(&payload), Ok((*identity(2).public_key(), muxers)), "{named:?}");
            }
        }
    }

    #[test]
    fn we_name_our_muxer_when_told_to_and_write_no_half_payload() {
        let key = static_key();
        let mut out = [0; MAX_OWN_PAYLOAD];
        for (early_muxer, muxers) in [(true, Muxers::Yamux), (false, Muxers::Unnamed)] {
            let len = key.write_payload(early_muxer, &mut out).unwrap();
            assert_eq!(read(&out[..len]), Ok((*identity(2).public_key(), muxers)));
            assert_eq!(key.write_payload(early_muxer, &mut out[..len - 1]), None);
        }
    }

    #[test]
    fn what_a_payload_lacks_is_named() {
        let key = [&KEY_PREFIX[..], &identity(2).public_key().compressed()].concat();
        let signature = signature(&static_key().pair.public);
        let payload = |key: &[u8], signature: &[u8]| {
            [field(IDENTITY_SIG, signature), field(3, b"?"), field(IDENTITY_KEY, key)].concat()
        };
        assert_eq!(
            read(&payload(&key, &signature)),
            Ok((*identity(2).public_key(), Muxers::Unnamed)),
            "fields may come in any order, and ones that we do not know between them"
        );
        let ed25519 = [&[0x08, 0x01, 0x12, 0x20][..], &[7; 32]].concat();
        let no_point = [&KEY_PREFIX[..], &[5; 33]].concat();
        for other in [&[][..], &key[..key.len() - 1], &ed25519, &no_point] {
            assert_eq!(read(&payload(other, &signature)), Err(HandshakeError::IdentityKey));
        }
        assert_eq!(read(&field(IDENTITY_SIG, &signature)), Err(HandshakeError::IdentityKey));
        assert_eq!(read(&field(IDENTITY_KEY, &key)), Err(HandshakeError::Identity));
        for other in [&[][..], &signature[1..], &self::signature(&[9; 32])] {
            assert_eq!(read(&payload(&key, other)), Err(HandshakeError::Identity));
        }
        let whole = payload(&key, &signature);
        assert_eq!(read(&whole[..whole.len() - 1]), Err(HandshakeError::Payload(ProtobufError::Truncated)));
    }
}
