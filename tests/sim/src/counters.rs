//! What happened in a run, counted.

macro_rules! counters {
    ($($(#[$doc:meta])* $kind:ident $field:ident,)*) => {
        /// What happened in a run: how often each fault occurred, beside what went well.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Counters {
            /// Every counter with its name, in one order that does not change within a version.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field)),*].into_iter()
            }

            /// The faults among them: what a campaign covered is those that are not 0.
            pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                let faults = [$(counters!(@ $kind)),*];
                self.all().zip(faults).filter(|(_, is_fault)| *is_fault).map(|(counter, _)| counter)
            }

            /// Adds those of another run.
            pub const fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.saturating_add(other.$field);)*
            }
        }
    };
    (@ fault) => { true };
    (@ plain) => { false };
}

counters! {
    /// Datagrams sent by machines.
    plain datagrams_sent,
    /// Datagrams handed to machines.
    plain datagrams_delivered,
    /// Datagrams lost on a link.
    fault datagrams_lost,
    /// Datagrams sent a second time by a link.
    fault datagrams_duplicated,
    /// Datagrams held back by a link.
    fault datagrams_reordered,
    /// Datagrams changed by a link.
    fault datagrams_corrupted,
    /// Datagrams stopped by a partition.
    fault datagrams_blocked,
    /// Datagrams to an address that nobody has, a node that is down, or a port that is not bound.
    fault datagrams_unreachable,
    /// Datagrams dropped because the queue before a narrow link was full.
    fault datagrams_overflowed,
    /// Datagrams that a NAT had no mapping for, or refused.
    fault datagrams_filtered,
    /// Datagrams and dials for which a NAT had no room.
    fault nat_full,
    /// Mappings of NATs found expired when they were needed, or needed to make room.
    fault nat_expired,
    /// Times that a NAT lost its mappings.
    fault nat_reboots,
    /// Dials begun.
    plain dials,
    /// Dials refused.
    fault dials_refused,
    /// Dials without an answer.
    fault dials_timed_out,
    /// Stream segments handed to machines.
    plain segments_delivered,
    /// Stream segments cut in two.
    fault segments_split,
    /// Stream segments sent again because of loss.
    fault segments_resent,
    /// Times that a segment waited because of a partition or a host that was down.
    fault segments_stalled,
    /// Times that a stream waited for a narrow link.
    fault segments_queued,
    /// Times that one direction of a stream stalled by the fault of that name.
    fault streams_stalled,
    /// Streams broken by the fault of that name.
    fault streams_broken,
    /// Stream ends that lost their peer without a reset.
    fault streams_silent,
    /// Stream ends closed because their peer was silent for too long.
    fault streams_timed_out,
    /// Writes asked of disks.
    plain writes,
    /// Writes that failed.
    fault writes_failed,
    /// Writes not yet durable at a crash, and lost.
    fault writes_lost,
    /// Writes not yet durable at a crash, and kept.
    fault writes_kept,
    /// Writes not yet durable at a crash, of which a part was kept.
    fault writes_torn,
    /// Clocks that jumped.
    fault clock_jumps,
    /// Crashes.
    fault crashes,
    /// Restarts.
    fault restarts,
    /// Changes of address.
    fault moves,
    /// One-way partitions.
    fault partitions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_some_of_the_counters_and_add_up() {
        let mut sum = Counters { datagrams_sent: 1, moves: 2, ..Counters::default() };
        sum.add(&Counters { moves: 3, crashes: 1, ..Counters::default() });
        let seen: Vec<_> = sum.faults().filter(|(_, count)| *count > 0).collect();
        assert_eq!(seen, [("crashes", 1), ("moves", 5)]);
        assert!(sum.all().any(|counter| counter == ("datagrams_sent", 1)));
    }
}
