//! A machine of one's own in the simulator: a counter that must never forget what it has acknowledged.
//!
//! A client asks a server to count, again and again until each count is acknowledged. The server keeps its count
//! on its disk. One server is right: it acknowledges when the disk has confirmed. The other acknowledges at
//! once, which is wrong only if it crashes in the moment between. This program finds that moment, makes the
//! failure small, and has it again from a few bytes.
//!
//! `cargo run -p coracle-sim --example counter`; `cargo test` runs it too.

// In a test every failure is one.
#![allow(clippy::expect_used)]

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use coracle_sim::{
    Boot, Cause, Choices, Context, Event, Failure, Faults, MILLISECOND, Machine, NodeId, Output, Plan,
    Recording, SECOND, Shrinker, Sim, What,
};

const PORT: u16 = 7;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
const RETRY: u64 = 100 * MILLISECOND;

// The machines. All nodes of a simulation have one type: where they differ, it is an enum.

enum Actor {
    Server(Server),
    Client(Client),
}

struct Server {
    /// The planted bug.
    hasty: bool,
    count: u8,
    /// Whom to tell when the disk has the count.
    waiting: Option<SocketAddr>,
}

struct Client {
    acknowledged: u8,
    goal: u8,
}

/// What a machine reports to observers.
#[derive(Debug)]
enum Seen {
    Acknowledged(u8),
}

type Cx<'a> = Context<'a, Seen>;

impl Server {
    /// Built anew at every start: what is not on the disk is gone.
    fn new(boot: &Boot<'_>, hasty: bool) -> Self {
        let stored = boot.disk.get(b"count".as_slice()).and_then(|value| value.first());
        Self { hasty, count: stored.copied().unwrap_or(0), waiting: None }
    }

    fn handle_request(&mut self, cx: &mut Cx<'_>, from: SocketAddr, number: u8) {
        if number == self.count.saturating_add(1) {
            self.count = number;
            self.waiting = Some(from);
            cx.put(b"count", &[number]);
        }
        let is_done = self.waiting.is_none() || self.hasty;
        if number == self.count && is_done {
            cx.send(ANYWHERE, from, &[number]);
        }
    }
}

impl Client {
    fn ask(&self, cx: &mut Cx<'_>) {
        if self.acknowledged < self.goal {
            cx.send(ANYWHERE, (SERVER, PORT).into(), &[self.acknowledged + 1]);
            cx.set_deadline(Some(cx.now() + RETRY));
        }
    }
}

impl Machine for Actor {
    type Command = ();
    type Observation = Seen;

    fn handle_start(&mut self, cx: &mut Cx<'_>) {
        cx.bind(PORT);
        if let Self::Client(client) = self {
            client.ask(cx);
        }
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if let Self::Client(client) = self {
            client.ask(cx);
        }
    }

    fn handle_datagram(&mut self, cx: &mut Cx<'_>, _local: SocketAddr, from: SocketAddr, bytes: &mut [u8]) {
        let [number] = *bytes else { return };
        match self {
            Self::Server(server) => server.handle_request(cx, from, number),
            Self::Client(client) if number == client.acknowledged + 1 => {
                client.acknowledged = number;
                cx.observe(Seen::Acknowledged(number));
                client.ask(cx);
            }
            Self::Client(_) => {}
        }
    }

    fn handle_event(&mut self, cx: &mut Cx<'_>, event: Event) {
        let Self::Server(server) = self else { return };
        match event {
            Event::Stored(_) => {
                if let Some(client) = server.waiting.take() {
                    cx.send(ANYWHERE, client, &[server.count]);
                }
            }
            Event::StoreFailed(_) => {
                // The disk holds the count before this one; the client will ask again.
                server.waiting = None;
                server.count -= 1;
            }
            _ => {}
        }
    }
}

// What is run, in a form that can be made smaller.

#[derive(Clone, Debug)]
struct Campaign {
    counts: u64,
    /// When the server crashes, in milliseconds; it is back 500 ms later.
    crashes: Vec<u64>,
}

impl Campaign {
    fn drawn(choices: &mut Choices) -> Self {
        let crashes = (0..6).map(|number| choices.lane("campaign.crash", number).choose(5000)).collect();
        Self { counts: 40, crashes }
    }

    /// The whole run: the same campaign and the same choices give the same run.
    fn run(&self, mut choices: Choices, hasty: bool) -> (Sim<Actor>, Result<(), Failure>) {
        let mut faults = Faults::drawn(&mut choices);
        faults.chaos = Faults::none().chaos; // Crashes are the campaign's.
        faults.link.corrupt = 0; // These messages carry no checksum.
        let mut sim = Sim::new(choices, faults);
        sim.keep_story(usize::MAX);
        let goal = u8::try_from(self.counts).unwrap_or(u8::MAX);
        let server = sim.add_node(SERVER, move |boot| Actor::Server(Server::new(&boot, hasty)));
        let server = server.expect("the address is free");
        let client = sim.add_node(CLIENT, move |_| Actor::Client(Client { acknowledged: 0, goal }));
        let client = client.expect("the address is free");
        never_forgets(&mut sim, server);
        let result = self.play(&mut sim, server, client);
        (sim, result)
    }

    /// Chaos first, then heal, then a deadline.
    fn play(&self, sim: &mut Sim<Actor>, server: NodeId, client: NodeId) -> Result<(), Failure> {
        let mut crashes = self.crashes.clone();
        crashes.sort_unstable();
        for at in crashes {
            sim.run_until(at * MILLISECOND)?;
            sim.crash(server);
            sim.run_for(500 * MILLISECOND)?;
            sim.restart(server);
        }
        sim.heal();
        let goal = self.counts;
        let counting = |sim: &Sim<Actor>| match sim.machine(client) {
            Some(Actor::Client(client)) => u64::from(client.acknowledged) < goal,
            _ => true,
        };
        let limit = sim.now() + 120 * SECOND;
        if sim.run_while(counting, limit)? {
            return Ok(());
        }
        Err(sim.fail(client, "liveness", format!("not counted to {goal} in 120 s")))
    }
}

impl Plan for Campaign {
    fn simpler(&self) -> Vec<Self> {
        let crashes = self.crashes.simpler().into_iter().map(|crashes| Self { crashes, ..self.clone() });
        let counts = self.counts.simpler().into_iter().map(|counts| Self { counts, ..self.clone() });
        crashes.chain(counts).collect()
    }
}

/// The invariant, looked at from outside after every event: a server that starts knows at least the count that
/// was acknowledged.
fn never_forgets(sim: &mut Sim<Actor>, server: NodeId) {
    let acknowledged = Rc::new(Cell::new(0));
    sim.observe_as("never forgets", move |sim, step| {
        for output in step.outputs {
            if let Output::Observed(Seen::Acknowledged(number)) = output {
                acknowledged.set(*number);
            }
        }
        match (sim.machine(server), step.cause) {
            (Some(Actor::Server(server)), Cause::Start(_)) if server.count < acknowledged.get() => {
                Err(format!("it starts with {}, and had acknowledged {}", server.count, acknowledged.get()))
            }
            _ => Ok(()),
        }
    });
}

/// Random search: the first seed that fails.
fn search(seeds: std::ops::Range<u64>, hasty: bool) -> Option<(u64, Campaign, Failure)> {
    seeds.into_iter().find_map(|seed| {
        let mut choices = Choices::from_seed(seed);
        let campaign = Campaign::drawn(&mut choices);
        let failure = campaign.run(choices, hasty).1.err()?;
        Some((seed, campaign, failure))
    })
}

fn main() {
    // The right server gets through.
    assert!(search(0..60, false).is_none(), "the right server fails");

    // The hasty one does not.
    let (seed, campaign, failure) = search(0..1000, true).expect("nothing found in 1000 seeds");
    println!("seed {seed} fails: {failure}\n");
    assert_eq!(failure.invariant, "never forgets");

    // First the campaign is made smaller, under the same seed; then what was drawn in it.
    let run = |campaign: &Campaign| campaign.run(Choices::from_seed(seed), true).1;
    let shrunk = Shrinker::new(2000).plan(campaign.clone(), failure, run);
    let small = &shrunk.smallest;
    println!("{campaign:?}\n  to {small:?} in {} runs", shrunk.runs);
    let sim = small.run(Choices::from_seed(seed), true).0;
    let drawn = sim.recording().clone();
    let run = |choices: Choices| small.run(choices, true).1;
    let shrunk = Shrinker::new(2000).recording(&drawn, shrunk.failure, run);
    println!("{} draws to {} in {} runs", drawn.draws(), shrunk.smallest.draws(), shrunk.runs);
    assert_eq!(small.crashes.len(), 1, "one crash is enough");
    assert!(shrunk.smallest.draws() < drawn.draws());

    // What is left is a few bytes, and replays.
    let bytes = shrunk.smallest.to_bytes();
    let recording = Recording::from_bytes(&bytes).expect("what was just written");
    let (sim, result) = small.run(Choices::from_recording(recording), true);
    assert_eq!(result, Err(shrunk.failure));
    println!("\nthe end of it, from {} bytes:", bytes.len());
    let told = |what: &What| !matches!(what, What::Timeout);
    let story: Vec<_> = sim.story().filter(|entry| told(&entry.what)).collect();
    for entry in story.iter().skip(story.len().saturating_sub(12)) {
        println!("{entry}");
    }
}
