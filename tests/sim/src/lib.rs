//! A deterministic simulator for machines without I/O.
//!
//! You have a protocol written as a state machine: datagrams, stream bytes, deadlines and commands go in,
//! packets and writes come out, and the machine itself touches no socket, clock, disk or random source. This
//! crate gives it a world in which to run: hosts with addresses and ports, links that lose, double, hold back
//! and change packets, NATs, streams that split anywhere, stall and break, disks that forget or tear what was not
//! yet durable, partitions, moves, crashes and restarts. A day passes in seconds, and **the same seed gives the
//! same run, byte for byte**, on every platform.
//!
//! # The pieces
//!
//! - [`Machine`]: the trait your machine implements. It acts through the [`Context`] of each call.
//! - [`Sim`]: the world with your machines in it. Add nodes, run it, crash, move, partition, heal.
//! - [`Choices`]: the one stream of decisions behind everything that is not determined: a seed, a
//!   [`Recording`] of an earlier run, a fuzzer's bytes, or a [`Source`] of your own.
//! - [`Shrinker`] and [`Enumerator`]: a failure made small, and every answer tried.
//! - [`Faults`]: what goes wrong how often; by hand, or drawn for each seed anew.
//! - [`Sim::observe`]: your invariants, checked from outside after every event; the first complaint ends the
//!   run with a [`Failure`] that names the seed and shows the last lines of the trace.
//!
//! How to put a machine of one's own into it, step by step: [`guide`].
//!
//! # An example
//!
//! A counter that sends its state to a peer until it is acknowledged, on links that lose every third packet,
//! through a crash:
//!
//! ```
//! use std::net::{Ipv4Addr, SocketAddr};
//!
//! use coracle_sim::{Boot, Choices, Context, Event, Faults, Machine, SECOND, Sim};
//!
//! const PORT: u16 = 7000;
//!
//! struct Counter {
//!     peer: SocketAddr,
//!     ours: u8,
//!     theirs: u8,
//! }
//!
//! impl Counter {
//!     /// What survives a crash is on the disk; everything else starts anew.
//!     fn new(boot: &Boot<'_>, peer: Ipv4Addr) -> Self {
//!         let stored = boot.disk.get(b"theirs".as_slice());
//!         Self {
//!             peer: (peer, PORT).into(),
//!             ours: 3,
//!             theirs: stored.map_or(0, |value| value[0]),
//!         }
//!     }
//! }
//!
//! impl Machine for Counter {
//!     type Command = u8;
//!     type Observation = u8;
//!
//!     fn handle_start(&mut self, cx: &mut Context<'_, u8>) {
//!         cx.bind(PORT);
//!         cx.set_deadline(Some(cx.now()));
//!     }
//!
//!     fn handle_timeout(&mut self, cx: &mut Context<'_, u8>) {
//!         cx.send((Ipv4Addr::UNSPECIFIED, PORT).into(), self.peer, &[self.ours]);
//!         cx.set_deadline(Some(cx.now() + SECOND));
//!     }
//!
//!     fn handle_datagram(
//!         &mut self,
//!         cx: &mut Context<'_, u8>,
//!         _local: SocketAddr,
//!         _from: SocketAddr,
//!         bytes: &mut [u8],
//!     ) {
//!         if bytes[0] > self.theirs {
//!             self.theirs = bytes[0];
//!             cx.put(b"theirs", &[self.theirs]);
//!         }
//!     }
//!
//!     fn handle_event(&mut self, cx: &mut Context<'_, u8>, event: Event) {
//!         if let Event::Stored(_) = event {
//!             cx.observe(self.theirs);
//!         }
//!     }
//!
//!     fn handle_command(&mut self, _cx: &mut Context<'_, u8>, command: u8) {
//!         self.ours = command;
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let run = |choices: Choices| -> Result<_, Box<dyn std::error::Error>> {
//!     let mut faults = Faults::none();
//!     faults.link.loss = 333_333; // parts per million
//!     let mut sim = Sim::new(choices, faults);
//!     let (left, right) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
//!     let a = sim.add_node(left, move |boot| Counter::new(&boot, right))?;
//!     let b = sim.add_node(right, move |boot| Counter::new(&boot, left))?;
//!     sim.observe(move |sim, step| match sim.machine(step.node) {
//!         Some(machine) if machine.theirs > 9 => Err("never counted so far".into()),
//!         _ => Ok(()),
//!     });
//!     sim.run_until(60 * SECOND)?;
//!     sim.crash(b);
//!     sim.command(a, 9);
//!     sim.restart(b);
//!     assert_eq!(sim.machine(b).map(|counter| counter.theirs), Some(3), "from its disk");
//!     let limit = sim.now() + 60 * SECOND;
//!     let told = sim.run_while(|sim| sim.machine(b).is_some_and(|b| b.theirs < 9), limit)?;
//!     assert!(told, "it never heard of the 9");
//!     Ok((sim.trace_hash(), sim.recording().to_bytes()))
//! };
//!
//! let (hash, recorded) = run(Choices::from_seed(42))?;
//! assert_eq!(run(Choices::from_seed(42))?.0, hash); // the same seed, the same run
//! assert_ne!(run(Choices::from_seed(43))?.0, hash);
//!
//! let recording = coracle_sim::Recording::from_bytes(&recorded)?;
//! assert_eq!(run(Choices::from_recording(recording))?.0, hash); // and from bytes
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//!
//! Time passes only between events: a machine computes in no time. A machine must itself be deterministic: no clock, no global random source,
//! no iteration over a `HashMap`; a run whose hash differs from the same seed's earlier one says that it is not.

#[doc = include_str!("../README.md")]
pub mod guide {}

mod choices;
mod context;
mod counters;
mod disk;
mod enumerate;
mod failure;
mod faults;
mod machine;
mod nat;
mod network;
mod recording;
mod shrink;
mod sim;
mod story;
mod stream;
mod time;
mod trace;
mod world;

pub use choices::{Ask, Choices, Draw, Lane, MILLION, Source};
pub use context::{Context, Output};
pub use counters::Counters;
pub use enumerate::Enumerator;
pub use failure::{AddressTaken, Failure};
pub use faults::{Chaos, DiskFaults, Faults, Link, StreamFaults};
pub use machine::{Boot, CloseReason, DialError, Event, Machine, NodeId, StreamId, WriteId};
pub use nat::{Dependence, NatConfig, NatId};
pub use recording::{BadRecording, Recording};
pub use shrink::{Plan, Progress, Shrinker, Shrunk};
pub use sim::{Cause, NodeConfig, Sim, Step};
pub use story::{DropReason, Entry, Fate, Mishap, PacketId, What};
pub use stream::StreamLimits;
pub use time::{Clock, MICROSECOND, MILLISECOND, Nanos, SECOND};
pub use trace::TraceHash;
