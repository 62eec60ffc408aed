//! What a driver handles by value stays small, and may go to another thread.

use super::*;
use crate::{
    channel::{Channel, ChannelEvent},
    discovery::Discovery,
    handshake::{Finished, Initiator, Responder},
    record::Record,
    refresh::LocalRecord,
};

/// On a 64-bit target; the compiler may need a few bytes more or less.
#[test]
#[cfg(target_pointer_width = "64")]
fn sizes() {
    for (what, size, most) in [
        ("Event", size_of::<Event<'_>>(), 64),
        ("Action", size_of::<Action>(), 600),
        ("Notice", size_of::<Notice>(), 192),
        ("StreamEvent", size_of::<StreamEvent>(), 192),
        ("Command", size_of::<Command>(), 128),
        ("ChannelEvent", size_of::<ChannelEvent>(), 64),
        ("discovery::Event", size_of::<discovery::Event>(), 560),
        ("Record", size_of::<Record>(), 512),
        ("StoreItem", size_of::<StoreItem>(), 600),
        ("Initiator", size_of::<Initiator>(), 1024),
        ("Responder", size_of::<Responder>(), 1024),
        ("Finished", size_of::<Finished>(), 256),
        ("Channel", size_of::<Channel>(), 1400),
        ("Conn", size_of::<conns::Conn>(), 1600),
        ("Node", size_of::<Node>(), 24 * 1024),
    ] {
        std::println!("{what:>16} {size:>6} bytes, at most {most}");
        assert!(size <= most, "{what} has {size} bytes, more than {most}");
    }
}

#[test]
fn send_and_sync() {
    const fn both<T: Send + Sync>() {}
    const _: () = {
        both::<Node>();
        both::<Action>();
        both::<Event<'static>>();
        both::<Notice>();
        both::<StreamEvent>();
        both::<Snapshot>();
        both::<Config>();
        both::<Discovery>();
        both::<LocalRecord>();
        both::<Channel>();
        both::<Initiator>();
        both::<Responder>();
        both::<Finished>();
        both::<Record>();
    };
}
