//! Messages: what stands encrypted in a packet (discv5 wire, "Protocol Messages").
//!
//! Decoding borrows, encoding writes into the caller's slice. The RLP must be canonical and end
//! where the message ends. Topic messages are not spoken; they decode to [`MessageError::Type`].

use core::net::{IpAddr, Ipv6Addr};

use crate::{
    limits::MAX_REQUEST_ID,
    wire::rlp::{self, BufferTooSmall, Item, Reader, RlpError, Writer},
};

/// Why the content of a packet is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Nothing there.
    #[error("the message is empty")]
    Empty,
    /// A type that we do not speak.
    #[error("unknown message type {0:#04x}")]
    Type(u8),
    /// The request id has more than 8 bytes.
    #[error("the request id is longer than 8 bytes")]
    RequestId,
    /// Not canonical RLP, or not of the message's shape.
    #[error("malformed message: {0}")]
    Rlp(#[from] RlpError),
    /// An address of neither 4 nor 16 bytes.
    #[error("the IP address has neither 4 nor 16 bytes")]
    Ip,
}

/// The request id on the wire: 0 to 8 bytes that an answer repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WireId {
    bytes: [u8; MAX_REQUEST_ID],
    len: u8,
}

impl WireId {
    /// Takes at most 8 bytes.
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_REQUEST_ID];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, len: id.len() as u8 })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The distances of a FINDNODE, as they stand in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distances<'a>(&'a [u8]);

impl Distances<'_> {
    /// The distances from 0 to 256 in their order; others can match no node and are left out.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let mut reader = Reader::new(self.0);
        // The content was checked when the message was decoded, so an error is the end.
        core::iter::from_fn(move || reader.next_item().ok()?.u64().ok())
            .filter_map(|distance| u16::try_from(distance).ok().filter(|distance| *distance <= 256))
    }
}

/// The records of a NODES message, as they stand there: nothing in them is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecords<'a>(&'a [u8]);

impl<'a> RawRecords<'a> {
    /// The RLP of each record.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.0);
        core::iter::from_fn(move || Some(reader.next_item().ok()?.raw))
    }
}

/// A message of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Is the recipient there?
    Ping {
        /// Chosen by the sender.
        id: WireId,
        /// Sequence number of the sender's record.
        enr_seq: u64,
    },
    /// Answers PING.
    Pong {
        /// Repeated.
        id: WireId,
        /// Sequence number of the sender's record.
        enr_seq: u64,
        /// Where the PING came from.
        ip: IpAddr,
        /// Its UDP port.
        port: u16,
    },
    /// Asks for records at distances from the recipient.
    FindNode {
        /// Chosen by the sender.
        id: WireId,
        /// Which distances.
        distances: Distances<'a>,
    },
    /// Answers FINDNODE, in one or more packets.
    Nodes {
        /// Repeated.
        id: WireId,
        /// How many packets the whole answer has.
        total: u64,
        /// The records in this one.
        records: RawRecords<'a>,
    },
    /// A request of an application.
    TalkReq {
        /// Chosen by the sender.
        id: WireId,
        /// Which application's.
        protocol: &'a [u8],
        /// Its content.
        request: &'a [u8],
    },
    /// Answers TALKREQ.
    TalkResp {
        /// Repeated.
        id: WireId,
        /// Its content; empty when the protocol is not known.
        response: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Decodes the decrypted content of a packet.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let (kind, data) = bytes.split_first().ok_or(MessageError::Empty)?;
        if !(1..=6).contains(kind) {
            return Err(MessageError::Type(*kind));
        }
        let mut list = rlp::decode_one(data)?.list()?;
        let id = WireId::new(list.next_item()?.string()?).ok_or(MessageError::RequestId)?;
        let message = match kind {
            1 => Self::Ping { id, enr_seq: list.next_item()?.u64()? },
            2 => Self::Pong {
                id,
                enr_seq: list.next_item()?.u64()?,
                ip: ip(&list.next_item()?)?,
                port: list.next_item()?.u16()?,
            },
            3 => Self::FindNode { id, distances: Distances(checked(&list.next_item()?, false)?) },
            4 => Self::Nodes {
                id,
                total: list.next_item()?.u64()?,
                records: RawRecords(checked(&list.next_item()?, true)?),
            },
            5 => Self::TalkReq {
                id,
                protocol: list.next_item()?.string()?,
                request: list.next_item()?.string()?,
            },
            _ => Self::TalkResp { id, response: list.next_item()?.string()? },
        };
        list.finish()?;
        Ok(message)
    }

    /// The request id.
    pub const fn id(&self) -> WireId {
        match self {
            Self::Ping { id, .. }
            | Self::Pong { id, .. }
            | Self::FindNode { id, .. }
            | Self::Nodes { id, .. }
            | Self::TalkReq { id, .. }
            | Self::TalkResp { id, .. } => *id,
        }
    }

    /// Writes the message into `buf` and returns its length.
    pub fn encode(&self, buf: &mut [u8]) -> Result<usize, BufferTooSmall> {
        match *self {
            Self::Ping { id, enr_seq } => encode(buf, 1, id, |w| w.u64(enr_seq).map(drop)),
            Self::Pong { id, enr_seq, ip, port } => encode(buf, 2, id, |w| {
                w.u64(enr_seq)?;
                match ip {
                    IpAddr::V4(ip) => w.string(&ip.octets())?,
                    IpAddr::V6(ip) => w.string(&ip.octets())?,
                };
                w.u64(port.into()).map(drop)
            }),
            Self::FindNode { id, distances } => {
                encode(buf, 3, id, |w| w.list(|w| w.raw(distances.0).map(drop)).map(drop))
            }
            Self::Nodes { id, total, records } => {
                encode(buf, 4, id, |w| w.u64(total)?.list(|w| w.raw(records.0).map(drop)).map(drop))
            }
            Self::TalkReq { id, protocol, request } => {
                encode(buf, 5, id, |w| w.string(protocol)?.string(request).map(drop))
            }
            Self::TalkResp { id, response } => encode(buf, 6, id, |w| w.string(response).map(drop)),
        }
    }
}

/// Writes a FINDNODE from a list of distances.
pub fn encode_find_node(buf: &mut [u8], id: WireId, distances: &[u16]) -> Result<usize, BufferTooSmall> {
    encode(buf, 3, id, |w| {
        w.list(|w| distances.iter().try_for_each(|d| w.u64((*d).into()).map(drop))).map(drop)
    })
}

/// Writes a NODES from records as RLP.
pub fn encode_nodes<'r>(
    buf: &mut [u8],
    id: WireId,
    total: u8,
    mut records: impl Iterator<Item = &'r [u8]>,
) -> Result<usize, BufferTooSmall> {
    encode(buf, 4, id, |w| {
        w.u64(total.into())?.list(|w| records.try_for_each(|record| w.raw(record).map(drop))).map(drop)
    })
}

fn encode(
    buf: &mut [u8],
    kind: u8,
    id: WireId,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), BufferTooSmall>,
) -> Result<usize, BufferTooSmall> {
    let mut writer = Writer::new(buf);
    // The type stands before the list as one plain byte, which is also how RLP writes it.
    writer.raw(&[kind])?;
    writer.list(|w| {
        w.string(id.as_bytes())?;
        body(w)
    })?;
    Ok(writer.len())
}

/// The content of a list of numbers (or, with `lists`, of lists), each of them checked.
fn checked<'a>(item: &Item<'a>, lists: bool) -> Result<&'a [u8], MessageError> {
    let mut list = item.list()?;
    let content = list.rest();
    while !list.is_empty() {
        let element = list.next_item()?;
        if lists {
            element.list()?;
        } else {
            element.u64()?;
        }
    }
    Ok(content)
}

/// Four or sixteen bytes; an IPv4-mapped address becomes the IPv4 address it is.
fn ip(item: &Item<'_>) -> Result<IpAddr, MessageError> {
    let bytes = item.string()?;
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| MessageError::Ip)?;
    Ok(IpAddr::V6(Ipv6Addr::from(v6)).to_canonical())
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn wire_id() -> impl Strategy<Value = WireId> {
        prop::collection::vec(any::<u8>(), 0..=8).prop_map(|bytes| WireId::new(&bytes).unwrap())
    }

    fn round_trip(message: &Message<'_>) {
        let mut buf = [0; 1280];
        let len = message.encode(&mut buf).unwrap();
        assert_eq!(Message::decode(&buf[..len]).as_ref(), Ok(message));
        // Nothing shorter or longer is the same message.
        assert!(Message::decode(&buf[..len - 1]).is_err());
        assert!(Message::decode(&buf[..len + 1]).is_err());
        for short in 0..len {
            assert!(message.encode(&mut buf[..short]).is_err());
        }
    }

    proptest! {
        #[test]
        fn messages_round_trip(
            id in wire_id(),
            enr_seq: u64,
            ip: [u8; 4],
            port: u16,
            total: u64,
            blob in prop::collection::vec(any::<u8>(), 0..600),
            distances in prop::collection::vec(0u16..=256, 0..20),
        ) {
            round_trip(&Message::Ping { id, enr_seq });
            round_trip(&Message::Pong { id, enr_seq, ip: ip.into(), port });
            round_trip(&Message::Pong { id, enr_seq, ip: [0xfd; 16].into(), port });
            round_trip(&Message::TalkReq { id, protocol: &ip, request: &blob });
            round_trip(&Message::TalkResp { id, response: &blob });
            let mut buf = [0; 1280];
            let len = encode_find_node(&mut buf, id, &distances).unwrap();
            let message = Message::decode(&buf[..len]).unwrap();
            let Message::FindNode { distances: read, .. } = message else { panic!("{message:?}") };
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), distances);
            round_trip(&message);
            let records = [&b"\xc1\x01"[..], b"\xc0"];
            let len = encode_nodes(&mut buf, id, total as u8, records.into_iter()).unwrap();
            let message = Message::decode(&buf[..len]).unwrap();
            let Message::Nodes { records: read, .. } = message else { panic!("{message:?}") };
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), records);
            round_trip(&message);
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(kind in 0u8..9, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut message = std::vec![kind];
            message.extend(&bytes);
            if let Ok(decoded) = Message::decode(&message) {
                // Strict: what decodes is the only encoding of itself.
                let mut buf = [0; 1280];
                let len = decoded.encode(&mut buf).unwrap();
                if !matches!(decoded, Message::Pong { .. }) {
                    prop_assert_eq!(&buf[..len], &message[..]);
                }
            }
        }
    }

    #[test]
    fn other_forms_are_refused() {
        assert_eq!(Message::decode(b""), Err(MessageError::Empty));
        assert_eq!(Message::decode(b"\x07\xc0"), Err(MessageError::Type(7)));
        assert_eq!(
            Message::decode(b"\x01\xcb\x89123456789\x01"),
            Err(MessageError::RequestId),
            "a request id of nine bytes"
        );
        assert!(matches!(
            Message::decode(b"\x01\xc3\x01\x01\x01"),
            Err(MessageError::Rlp(RlpError::Trailing))
        ));
        assert_eq!(Message::decode(b"\x02\xc7\x01\x01\x83abc\x01"), Err(MessageError::Ip));
        let mapped = b"\x02\xd6\x01\x01\x90\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01\x82\x23";
        let mut mapped = mapped.to_vec();
        mapped[1] = 0xc0 + 22;
        mapped.push(0x29);
        let Ok(Message::Pong { ip, port, .. }) = Message::decode(&mapped) else { panic!("mapped address") };
        assert_eq!((ip, port), ([127, 0, 0, 1].into(), 9001));
    }
}
