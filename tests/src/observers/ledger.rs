//! Bytes by endpoint, counted on the wire (design, section 5, "Amplification" and "Being aimed at a victim").
//!
//! Purpose: an endpoint is *verified* for a node once a datagram came from it that was sent after one of the
//! node's had arrived there: somebody who only claims that address cannot have done that. To any other endpoint
//! - D1: WHOAREYOUs never have more bytes than the datagrams that came from it;
//! - D2: all datagrams of a minute have no more bytes than came from it in that time and [`BUDGET`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use coracle_sim::{Cause, Nanos, NodeId, Output, SECOND, Sim, Step};

use crate::cluster::Actor;
use crate::sim_node::Seen;
use crate::wire::{Flag, flag};

/// Bytes a minute that a node may send to an endpoint that never answered, beside what came from there. A member
/// that is away is pinged by its record and looked up all the time: measured in campaigns, and rounded up.
pub const BUDGET: u64 = 40_000;
/// Over which time D2 counts.
const WINDOW: Nanos = 60 * SECOND;

/// What went to and came from where.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<(NodeId, SocketAddr), Account>,
    /// The most that any node sent to any unverified endpoint in a window, beyond what came from it.
    pub most: u64,
}

#[derive(Debug, Default)]
struct Account {
    verified: bool,
    /// The owner got something of the node's there, and has not been heard since.
    reached: BTreeSet<SocketAddr>,
    received: u64,
    challenged: u64,
    window: Nanos,
    window_received: u64,
    window_sent: u64,
}

impl Account {
    fn turn(&mut self, now: Nanos) {
        if now - self.window >= WINDOW {
            self.window = now;
            self.window_received = 0;
            self.window_sent = 0;
        }
    }
}

impl Ledger {
    /// Takes down what a step did.
    ///
    /// # Errors
    ///
    /// D1 or D2, where they are broken.
    pub fn look(&mut self, sim: &Sim<Actor>, step: &Step<'_, Seen>) -> Result<(), String> {
        let now = sim.now();
        if let Cause::Datagram { local, from, length } = step.cause {
            self.received(sim, now, step.node, local, from, length as u64);
        }
        for output in step.outputs {
            if let Output::Sent { to, bytes, .. } = output {
                self.sent(now, step.node, *to, bytes)?;
            }
        }
        Ok(())
    }

    fn received(
        &mut self,
        sim: &Sim<Actor>,
        now: Nanos,
        node: NodeId,
        local: SocketAddr,
        from: SocketAddr,
        length: u64,
    ) {
        // Whoever sent it has reached this node, at its address or that of its NAT.
        let outside = |node: NodeId| sim.nat_of(node).and_then(|nat| sim.nat_address(nat));
        let has =
            |node: &NodeId| sim.addresses(*node).contains(&from.ip()) || outside(*node) == Some(from.ip());
        if let Some(sender) = sim.nodes().find(has) {
            self.accounts.entry((sender, local)).or_default().reached.insert(from);
            let at_nat = |to: &SocketAddr| Some(to.ip()) == outside(node);
            for ((whose, to), account) in self.accounts.iter_mut() {
                if *whose == sender && at_nat(to) {
                    account.reached.insert(from);
                }
            }
        }
        let account = self.accounts.entry((node, from)).or_default();
        account.turn(now);
        account.received += length;
        account.window_received += length;
        account.verified |= !account.reached.is_empty();
    }

    fn sent(&mut self, now: Nanos, node: NodeId, to: SocketAddr, bytes: &[u8]) -> Result<(), String> {
        let account = self.accounts.entry((node, to)).or_default();
        if account.verified {
            return Ok(());
        }
        let length = bytes.len() as u64;
        account.turn(now);
        if flag(bytes) == Some(Flag::WhoAreYou) {
            account.challenged += length;
            if account.challenged > account.received {
                let (sent, received) = (account.challenged, account.received);
                return Err(format!(
                    "D1: {sent} bytes of WHOAREYOU to {to}, from where {received} bytes came"
                ));
            }
        }
        account.window_sent += length;
        let beyond = account.window_sent.saturating_sub(account.window_received);
        self.most = self.most.max(beyond);
        if beyond > BUDGET {
            return Err(format!("D2: {beyond} bytes a minute to {to}, which never answered"));
        }
        Ok(())
    }
}
