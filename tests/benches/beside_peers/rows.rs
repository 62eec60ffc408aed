//! Which operations stand in the table, beside what, and under which bars.

use coracle_core::crypto::RustCrypto;
use coracle_native_crypto::NativeCrypto;

use crate::{
    backend::Backend,
    measure::{Allocations, Op},
    ours::{channel, codec, packets, sockets},
    peers,
    table::{Column, Primitive, Row, Theirs},
};

fn column<B: Backend>(op: Op) -> Column {
    Column { backend: B::NAME, native: B::NATIVE, op }
}

/// Our side with every backend: one line for each.
macro_rules! ours {
    ($module:ident :: $op:ident ( $($argument:expr),* )) => {
        vec![
            column::<RustCrypto>($module::$op::<RustCrypto>($($argument),*)),
            column::<NativeCrypto>($module::$op::<NativeCrypto>($($argument),*)),
        ]
    };
}

/// A figure from inside the crate `discv5`.
fn given(us: f64, primitive: Primitive, count: f64) -> Theirs {
    Theirs::Given(us * 1e3, primitive, Allocations { count, bytes: f64::NAN })
}

const DISCV5: &str = "discv5 crate";

/// All rows, each made only when it is its turn.
pub(crate) fn all() -> Vec<fn() -> Row> {
    vec![
        || Row {
            title: "PING: encode, seal, mask",
            ours: ours!(codec::ping_encode(true)),
            peer: DISCV5,
            theirs: given(0.48, Primitive::AesGcm, 12.0),
            bars: [0.55, 0.55],
            allocations: Some(0.0),
        },
        || Row {
            title: "PING: unmask, open, parse",
            ours: ours!(codec::ping_open(true)),
            peer: DISCV5,
            theirs: given(0.49, Primitive::AesGcm, 10.0),
            bars: [0.55, 0.55],
            allocations: Some(0.0),
        },
        || Row {
            title: "PING encode, keys not kept",
            ours: ours!(codec::ping_encode(false)),
            peer: DISCV5,
            theirs: given(0.48, Primitive::AesGcm, 12.0),
            bars: [f64::INFINITY; 2],
            allocations: Some(0.0),
        },
        || Row {
            title: "PING open, keys not kept",
            ours: ours!(codec::ping_open(false)),
            peer: DISCV5,
            theirs: given(0.49, Primitive::AesGcm, 10.0),
            bars: [f64::INFINITY; 2],
            allocations: Some(0.0),
        },
        || Row {
            title: "unknown packet to WHOAREYOU",
            ours: ours!(packets::unknown()),
            peer: DISCV5,
            theirs: given(0.67, Primitive::AesGcm, 15.0),
            bars: [0.4, 0.4],
            allocations: Some(0.0),
        },
        || Row {
            title: "unsolicited handshake refused",
            ours: ours!(packets::unsolicited()),
            peer: DISCV5,
            theirs: given(76.0, Primitive::Verify, 27.0),
            bars: [0.01, 0.01],
            allocations: Some(0.0),
        },
        || Row {
            title: "NODES with 4 known records",
            ours: ours!(packets::nodes_known()),
            peer: "enr crate, 4 records",
            theirs: Theirs::Measured(peers::records::from_rlp(4, 256)),
            bars: [0.01, 0.01],
            allocations: Some(0.0),
        },
        || Row {
            title: "NODES with 4 new records",
            ours: ours!(packets::nodes_new()),
            peer: "enr crate, 4 records",
            theirs: Theirs::Measured(peers::records::from_rlp(4, 256)),
            bars: [0.93, 0.5],
            allocations: Some(0.0),
        },
        || Row {
            title: "ENR text to verified record",
            ours: ours!(codec::record_from_text()),
            peer: "enr crate",
            theirs: Theirs::Measured(peers::records::from_text()),
            bars: [0.93, 0.5],
            allocations: Some(0.0),
        },
        || Row {
            title: "ENR RLP to verified record",
            ours: ours!(codec::record_from_rlp()),
            peer: "enr crate",
            theirs: Theirs::Measured(peers::records::from_rlp(1, 1)),
            bars: [0.93, 0.5],
            allocations: Some(0.0),
        },
        || Row {
            title: "discv5 handshake packet, both sides",
            ours: ours!(packets::handshake_packets(false)),
            peer: DISCV5,
            theirs: given(309.0, Primitive::Verify, 71.0),
            bars: [0.97, 0.62],
            allocations: Some(0.0),
        },
        || Row {
            title: "the same, ephemeral key ahead",
            ours: ours!(packets::handshake_packets(true)),
            peer: DISCV5,
            theirs: given(309.0, Primitive::Verify, 71.0),
            bars: [f64::INFINITY; 2],
            allocations: Some(0.0),
        },
        || Row {
            title: "its operations on the curve alone",
            ours: ours!(codec::handshake_primitives()),
            peer: DISCV5,
            theirs: given(309.0, Primitive::Verify, 71.0),
            bars: [f64::INFINITY; 2],
            allocations: Some(0.0),
        },
        || Row {
            title: "discv5 handshake, all four packets",
            ours: ours!(packets::handshakes()),
            peer: "its handshake packet",
            theirs: given(309.0, Primitive::Verify, 71.0),
            bars: [f64::INFINITY; 2],
            allocations: Some(0.0),
        },
        || Row {
            title: "discv5 handshake over loopback",
            ours: ours!(sockets::handshakes()),
            peer: DISCV5,
            theirs: Theirs::Measured(peers::discv5::handshakes()),
            bars: [0.8, 0.55],
            allocations: None,
        },
        || Row {
            title: "TALK over loopback, one at a time",
            ours: ours!(sockets::talks(1)),
            peer: DISCV5,
            theirs: Theirs::Measured(peers::discv5::talks(1)),
            bars: [0.7, 0.7],
            allocations: Some(4.0),
        },
        || Row {
            title: "TALK over loopback, 64 in flight",
            ours: ours!(sockets::talks(64)),
            peer: DISCV5,
            theirs: Theirs::Measured(peers::discv5::talks(64)),
            bars: [0.7, 0.7],
            allocations: Some(4.0),
        },
        || Row {
            title: "Noise XX with identity, both sides",
            ours: ours!(channel::noise()),
            peer: "libp2p-noise",
            theirs: Theirs::Measured(peers::noise::with_identity()),
            bars: [0.78, 0.38],
            allocations: Some(0.0),
        },
        || Row {
            title: "the same",
            ours: ours!(channel::noise()),
            peer: "snow, no identity",
            theirs: Theirs::Measured(peers::noise::without_identity()),
            bars: [f64::INFINITY; 2],
            allocations: Some(0.0),
        },
        || Row {
            title: "TCP, Noise, yamux over loopback",
            ours: ours!(channel::connection()),
            peer: "libp2p",
            theirs: Theirs::Measured(peers::noise::connection()),
            bars: [0.75, 0.45],
            allocations: None,
        },
        || Row {
            title: "64 KiB through the channel",
            ours: ours!(channel::transfer()),
            peer: "libp2p-noise",
            theirs: Theirs::Measured(peers::noise::transfer()),
            bars: [f64::INFINITY, 0.8],
            allocations: Some(0.0),
        },
    ]
}

/// Makes an operation ready.
type Make = fn() -> Op;

/// Our operations by name, for callgrind.
pub(crate) fn operations() -> Vec<(&'static str, Make)> {
    vec![
        ("ping-encode", || codec::ping_encode::<RustCrypto>(true)),
        ("ping-open", || codec::ping_open::<RustCrypto>(true)),
        ("ping-encode-made", || codec::ping_encode::<RustCrypto>(false)),
        ("ping-open-made", || codec::ping_open::<RustCrypto>(false)),
        ("unknown-packet", packets::unknown::<RustCrypto>),
        ("unsolicited-handshake", packets::unsolicited::<RustCrypto>),
        ("nodes-known", packets::nodes_known::<RustCrypto>),
        ("nodes-new", packets::nodes_new::<RustCrypto>),
        ("record-text", codec::record_from_text::<RustCrypto>),
        ("record-rlp", codec::record_from_rlp::<RustCrypto>),
        ("discv5-handshake", packets::handshakes::<RustCrypto>),
        ("handshake-packet", || packets::handshake_packets::<RustCrypto>(false)),
        ("handshake-curve", codec::handshake_primitives::<RustCrypto>),
        ("noise-handshake", channel::noise::<RustCrypto>),
        ("transfer-64-kib", channel::transfer::<RustCrypto>),
        ("verify", codec::verify::<RustCrypto>),
        ("aes-gcm", codec::aes_gcm::<RustCrypto>),
    ]
}
