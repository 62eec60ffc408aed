//! Records by the crate `enr`, over k256: what the crate `discv5` does with every record that comes in.

use std::hint::black_box;

use alloy_rlp::Decodable as _;
use coracle_core::crypto::RustCrypto;
use enr::CombinedKey;

use crate::{
    backend::identity,
    measure::Op,
    ours::{codec::record_text, host::record},
};

type Enr = enr::Enr<CombinedKey>;

pub(crate) fn from_text() -> Op {
    let text = record_text();
    Op::new(move || {
        black_box(black_box(&text).parse::<Enr>().unwrap());
    })
}

/// `count` records, one after the other, out of so `many` in turn: to check the same signature again and again costs
/// a processor less than to check new ones.
pub(crate) fn from_rlp(count: usize, many: u32) -> Op {
    let own = |number| record(&identity::<RustCrypto>(number), number, 1).as_bytes().to_vec();
    let records: Vec<_> = (1..=many).map(own).collect();
    let mut next = 0;
    Op::new(move || {
        for _ in 0..count {
            next = (next + 1) % records.len();
            black_box(Enr::decode(&mut &black_box(&records[next])[..]).unwrap());
        }
    })
}
