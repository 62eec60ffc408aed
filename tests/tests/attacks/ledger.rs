//! Bytes in and out by endpoint, judged at every packet that goes out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use coracle_core::limits::{
    BEGUN_BYTES_PER_PREFIX, BEGUN_BYTES_PER_PREFIX_SECOND, CHALLENGES_PER_PREFIX,
    CHALLENGES_PER_PREFIX_SECOND,
};

/// Size of a WHOAREYOU: the only answer that an unverified endpoint gets.
pub(crate) const WHOAREYOU: usize = 63;
/// Size of the packet with which we begin: the only other one.
const BEGINNING: usize = 103;

/// A stock that refills, computed apart from the core's: exact, in nanoseconds of a byte.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    level: u128,
    at: u64,
}

impl Spent {
    /// Adds `amount`; how much is out then.
    fn add(&mut self, amount: u64, rate: u64, now: u64) -> u64 {
        let back = u128::from(now - self.at) * u128::from(rate);
        self.at = now;
        self.level = self.level.saturating_sub(back) + u128::from(amount) * 1_000_000_000;
        self.level.div_ceil(1_000_000_000) as u64
    }
}

/// What went between the node and one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    pub(crate) came: u64,
    pub(crate) answered: u64,
    pub(crate) begun: u64,
    /// Everything that went there.
    pub(crate) went: u64,
}

/// The books of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) accounts: BTreeMap<SocketAddr, Account>,
    /// Where a packet of ours was received for certain: it was answered with its nonce or under its keys.
    verified: BTreeSet<SocketAddr>,
    prefixes: BTreeMap<IpAddr, [Spent; 2]>,
    /// Bytes of answers to unverified endpoints, and bytes that came from them.
    pub(crate) to_unverified: u64,
    pub(crate) begun: u64,
    /// The highest level of bytes begun to one prefix, and of WHOAREYOUs.
    pub(crate) most_begun: u64,
    pub(crate) most_challenges: u64,
    /// The worst ratio of answers to what came, in thousandths, at any moment, over unverified endpoints.
    pub(crate) worst: u64,
}

fn prefix(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(_) => ip,
    }
}

impl Ledger {
    pub(crate) fn came(&mut self, from: SocketAddr, len: usize) {
        self.accounts.entry(from).or_default().came += len as u64;
    }

    /// An endpoint proved that it receives what is sent to it.
    pub(crate) fn verify(&mut self, at: SocketAddr) {
        self.verified.insert(at);
    }

    /// A packet goes out at `now`: every rule of the design holds at this very moment.
    pub(crate) fn goes(&mut self, to: SocketAddr, len: usize, now: u64) {
        let account = self.accounts.entry(to).or_default();
        account.went += len as u64;
        if self.verified.contains(&to) {
            return;
        }
        let [begun, challenges] = self.prefixes.entry(prefix(to.ip())).or_default();
        match len {
            WHOAREYOU => {
                account.answered += len as u64;
                self.to_unverified += len as u64;
                let level = challenges.add(1, CHALLENGES_PER_PREFIX_SECOND.into(), now);
                self.most_challenges = self.most_challenges.max(level);
                assert!(
                    level <= u64::from(CHALLENGES_PER_PREFIX),
                    "{level} WHOAREYOUs to the network of {to}"
                );
            }
            BEGINNING => {
                account.begun += len as u64;
                self.begun += len as u64;
                let level = begun.add(len as u64, BEGUN_BYTES_PER_PREFIX_SECOND.into(), now);
                self.most_begun = self.most_begun.max(level);
                assert!(level <= u64::from(BEGUN_BYTES_PER_PREFIX), "{level} bytes to the network of {to}");
            }
            _ => panic!("{len} bytes to {to}, which never proved that it is there: {account:?}"),
        }
        assert!(account.answered <= account.came, "more goes to {to} than came from it: {account:?}");
        self.worst = self.worst.max(account.answered * 1000 / account.came.max(1));
    }
}
