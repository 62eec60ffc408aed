//! Two whole nodes in a program without std, on a fixed piece of memory of which nothing is ever given back:
//! they mesh, and live through ten minutes of their own time.
//!
//! It exits with 0 when everything held, and with the number of the step that did not otherwise.
#![no_std]
#![no_main]

extern crate alloc;

mod memory;
mod world;

use core::fmt::{self, Write};

use coracle_core::time::Instant;

use crate::{memory::used, world::World};

// The C library brings `memcpy` and its like, the start of a program, and a way to print; no allocator of it
// is called.
#[link(name = "c")]
unsafe extern "C" {
    fn write(fd: i32, bytes: *const u8, len: usize) -> isize;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Standard output.
struct Out;

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the pointer and the length are those of one slice.
        let written = unsafe { write(1, text.as_ptr(), text.len()) };
        if written < 0 { Err(fmt::Error) } else { Ok(()) }
    }
}

/// What the C runtime calls.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    match run() {
        Ok(()) => 0,
        Err(step) => step,
    }
}

fn run() -> Result<(), i32> {
    let mut world = World::new()?;
    let at_start = used();
    // Both have an authenticated channel and answered pings.
    world.run(Instant::from_millis(10_000));
    if world.pings.contains(&0) {
        return Err(3);
    }
    world.run(Instant::from_millis(600_000));
    if world.pings.iter().any(|pings| *pings < 100) {
        return Err(4);
    }
    // Nothing was asked for since the start: neither by the nodes nor by this driver.
    if used() != at_start {
        return Err(5);
    }
    report(&world, at_start).map_err(|_| 6)
}

fn report(world: &World, at_start: usize) -> fmt::Result {
    writeln!(Out, "{:>9} bytes  one node of a cluster of two, in its own tables", world.node_bytes)?;
    writeln!(Out, "{at_start:>9} bytes  two nodes and their driver, of {}", memory::SIZE)?;
    writeln!(Out, "{:>9} bytes  asked for in ten minutes after that", used() - at_start)?;
    writeln!(Out, "{:>9} pings were answered", world.pings[0] + world.pings[1])
}
