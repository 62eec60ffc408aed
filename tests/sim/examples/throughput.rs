//! How many events a second the simulator itself gets through: rings of nodes that pass a datagram on.
//!
//! `cargo run --release -p coracle-sim --example throughput`

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use coracle_sim::{Choices, Context, Faults, Machine, SECOND, Sim};

const PORT: u16 = 9;

struct Relay {
    next: Ipv4Addr,
}

impl Machine for Relay {
    type Command = ();
    type Observation = ();

    fn handle_start(&mut self, cx: &mut Context<'_, ()>) {
        cx.bind(PORT);
        cx.set_deadline(Some(cx.now() + SECOND));
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, ()>) {
        let from = (Ipv4Addr::UNSPECIFIED, PORT).into();
        cx.send(from, (self.next, PORT).into(), &[7; 600]);
    }

    fn handle_datagram(
        &mut self,
        cx: &mut Context<'_, ()>,
        local: SocketAddr,
        _from: SocketAddr,
        bytes: &mut [u8],
    ) {
        cx.send(local, (self.next, PORT).into(), bytes);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for count in [4_u32, 10, 1000] {
        let mut faults = Faults::none();
        faults.link.jitter = 1_000_000;
        let mut sim = Sim::new(Choices::from_seed(1).without_recording(), faults);
        let address = |number: u32| Ipv4Addr::from(0x0a00_0001 + number % count);
        for number in 0..count {
            let next = address(number + 1);
            sim.add_node(address(number), move |_| Relay { next })?;
        }
        let began = Instant::now();
        while sim.steps() < 500_000 {
            sim.run_for(SECOND)?;
        }
        let took = began.elapsed();
        let rate = u128::from(sim.steps()) * 1000 / took.as_millis().max(1);
        let (steps, virtual_time) = (sim.steps(), sim.now() / SECOND);
        println!("{count:>5} nodes: {steps} steps, {virtual_time} s virtual, {rate} steps/s");
    }
    Ok(())
}
