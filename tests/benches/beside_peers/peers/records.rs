//! Records by the crate `enr`, over k256: what the crate `discv5` does with every record that comes in.

use std::hint::black_box;

use alloy_rlp::Decodable as _;
use enr::CombinedKey;

use crate::{measure::Op, ours::codec::record_text};

type Enr = enr::Enr<CombinedKey>;

fn rlp() -> Vec<u8> {
    alloy_rlp::encode(record_text().parse::<Enr>().unwrap())
}

pub(crate) fn from_text() -> Op {
    let text = record_text();
    Op::new(move || {
        black_box(black_box(&text).parse::<Enr>().unwrap());
    })
}

/// `count` records, one after the other.
pub(crate) fn from_rlp(count: usize) -> Op {
    let bytes = rlp();
    Op::new(move || {
        for _ in 0..count {
            black_box(Enr::decode(&mut &black_box(&bytes)[..]).unwrap());
        }
    })
}
