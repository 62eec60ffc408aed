//! What each test prints: counts.

use crate::{meter::Meter, world::Node};

/// Successes of so many.
pub(crate) struct Row(&'static str, u64, u64);

pub(crate) const fn row(what: &'static str, of: u64, all: u64) -> Row {
    Row(what, of, all)
}

/// Prints what was sent, why it was dropped, how the honest fared, and what it cost.
pub(crate) fn print(attack: &str, packets: u64, node: &Node, rows: &[Row]) {
    let counters = format!("{:?}", node.counters());
    let body = counters.trim_start_matches("Counters { ").trim_end_matches(" }");
    let dropped: Vec<_> =
        body.split(", ").filter(|entry| !entry.ends_with(": 0") && !entry.contains("_bytes")).collect();
    println!("| {attack} | {packets} packets");
    println!("|   counters: {}", dropped.join(", "));
    for Row(what, of, all) in rows {
        println!("|   {what}: {of} of {all}");
    }
    let meter = &node.meter;
    println!(
        "|   memory: {} bytes before, {} more at the most during, {} allocations",
        meter.at_start, meter.above, meter.allocations
    );
    println!(
        "|   worst datagram: {} operations on the curve, {} other",
        meter.worst.points, meter.worst.symmetric
    );
    for (name, stretch) in [("first", meter.stretches.first()), ("last", whole(meter).last())] {
        let Some(stretch) = stretch else { continue };
        let (points, other) = stretch.per_packet();
        println!(
            "|   {name} {} datagrams: {points}/1000 on the curve, {other}/1000 other a datagram ({} ns)",
            stretch.packets,
            stretch.nanos / u128::from(stretch.packets.max(1))
        );
    }
    let ledger = &node.ledger;
    println!(
        "|   to unverified endpoints: {} bytes of answers, worst {}/1000 of what came; {} bytes begun; \
         at most {} bytes begun and {} WHOAREYOUs to one network at a time",
        ledger.to_unverified, ledger.worst, ledger.begun, ledger.most_begun, ledger.most_challenges
    );
}

/// The stretches that are full.
fn whole(meter: &Meter) -> impl Iterator<Item = &crate::meter::Stretch> {
    meter.stretches.iter().filter(|stretch| stretch.packets == crate::meter::STRETCH)
}

/// The last datagrams cost no more than the first ones did, whatever came between.
pub(crate) fn is_flat(meter: &Meter) {
    let stretches: Vec<_> = whole(meter).collect();
    let (first, last) = (stretches[0].per_packet(), stretches[stretches.len() - 1].per_packet());
    // In the first there is the burst of signature checks; a twentieth is chance.
    assert!(last.0 <= first.0 + first.0 / 20, "on the curve: {first:?} at first, {last:?} at last");
    assert!(last.1 <= first.1 + first.1 / 20, "other: {first:?} at first, {last:?} at last");
}
