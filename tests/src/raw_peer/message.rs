//! The messages (discv5 wire, "Protocol Messages"), with nothing about them checked when they are written.

use std::net::IpAddr;

use super::rlp::Rlp;

/// A message. Request ids may have any length.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the specification's
pub enum Message {
    Ping { id: Vec<u8>, enr_seq: u64 },
    Pong { id: Vec<u8>, enr_seq: u64, ip: IpAddr, port: u16 },
    FindNode { id: Vec<u8>, distances: Vec<u64> },
    Nodes { id: Vec<u8>, total: u64, records: Vec<Vec<u8>> },
    TalkReq { id: Vec<u8>, protocol: Vec<u8>, request: Vec<u8> },
    TalkResp { id: Vec<u8>, response: Vec<u8> },
}

impl Message {
    /// The request id.
    pub fn id(&self) -> &[u8] {
        match self {
            Self::Ping { id, .. }
            | Self::Pong { id, .. }
            | Self::FindNode { id, .. }
            | Self::Nodes { id, .. }
            | Self::TalkReq { id, .. }
            | Self::TalkResp { id, .. } => id,
        }
    }

    /// Whether it asks for an answer.
    pub fn is_request(&self) -> bool {
        matches!(self, Self::Ping { .. } | Self::FindNode { .. } | Self::TalkReq { .. })
    }

    /// The type and the list.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, rest) = match self {
            Self::Ping { enr_seq, .. } => (1, vec![Rlp::number(*enr_seq)]),
            Self::Pong { enr_seq, ip, port, .. } => {
                let ip = match ip {
                    IpAddr::V4(ip) => Rlp::bytes(&ip.octets()),
                    IpAddr::V6(ip) => Rlp::bytes(&ip.octets()),
                };
                (2, vec![Rlp::number(*enr_seq), ip, Rlp::number((*port).into())])
            }
            Self::FindNode { distances, .. } => {
                (3, vec![Rlp::List(distances.iter().map(|distance| Rlp::number(*distance)).collect())])
            }
            Self::Nodes { total, records, .. } => {
                let records = records.iter().map(|record| Rlp::Raw(record.clone())).collect();
                (4, vec![Rlp::number(*total), Rlp::List(records)])
            }
            Self::TalkReq { protocol, request, .. } => (5, vec![Rlp::bytes(protocol), Rlp::bytes(request)]),
            Self::TalkResp { response, .. } => (6, vec![Rlp::bytes(response)]),
        };
        let mut items = vec![Rlp::bytes(self.id())];
        items.extend(rest);
        let mut out = vec![kind];
        out.extend(Rlp::List(items).encode());
        out
    }

    /// Reads what [`Message::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, list) = bytes.split_first()?;
        let list = Rlp::decode(list)?;
        let (id, rest) = list.as_list()?.split_first()?;
        let id = id.as_bytes()?.to_vec();
        Some(match (kind, rest) {
            (1, [seq]) => Self::Ping { id, enr_seq: seq.as_number()? },
            (2, [seq, ip, port]) => {
                let (ip, port) = (address(ip.as_bytes()?)?, port.as_number()?.try_into().ok()?);
                Self::Pong { id, enr_seq: seq.as_number()?, ip, port }
            }
            (3, [distances]) => {
                let distances = distances.as_list()?.iter().map(Rlp::as_number).collect::<Option<_>>()?;
                Self::FindNode { id, distances }
            }
            (4, [total, records]) => {
                let records = records.as_list()?.iter().map(Rlp::encode).collect();
                Self::Nodes { id, total: total.as_number()?, records }
            }
            (5, [protocol, request]) => Self::TalkReq {
                id,
                protocol: protocol.as_bytes()?.to_vec(),
                request: request.as_bytes()?.to_vec(),
            },
            (6, [response]) => Self::TalkResp { id, response: response.as_bytes()?.to_vec() },
            _ => return None,
        })
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
