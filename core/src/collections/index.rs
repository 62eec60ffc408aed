//! Places by the hash of a name, in constant time.

use alloc::boxed::Box;
use core::{
    hash::{Hash, Hasher as _},
    iter,
};

use siphasher::sip::SipHasher13;

const EMPTY: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Cell {
    hash: u32,
    index: u32,
}

/// The hash of a name in one index, for whoever asks for one name several times.
#[derive(Clone, Copy, Debug)]
pub struct Print(u32);

impl Print {
    /// The same as the mark of a value in a [`Slab`](super::Slab).
    pub const fn mark(self) -> u32 {
        self.0
    }

    /// The print that a value was marked with.
    pub const fn of_mark(mark: u32) -> Self {
        Self(mark)
    }
}

/// Finds the places of a pool by the names of what lives there; the names themselves stand in the pool.
///
/// It hashes with a secret key, so that nobody outside can choose names that collide. It is never iterated, so no
/// order depends on the key.
#[derive(Debug)]
pub struct Index {
    cells: Box<[Cell]>,
    secret: [u8; 16],
}

impl Index {
    /// For `capacity` places.
    pub fn new(capacity: usize, secret: [u8; 16]) -> Self {
        // At most three in four are taken, so searches stay short.
        let cells = (capacity + capacity / 3 + 1).next_power_of_two();
        Self { cells: (0..cells).map(|_| Cell { hash: 0, index: EMPTY }).collect(), secret }
    }

    /// The print of a name. Names that hash alike have one print.
    #[inline]
    pub fn print<N: Hash>(&self, name: &N) -> Print {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        name.hash(&mut hasher);
        Print(hasher.finish() as u32)
    }

    /// All places with this print; other names may have it too.
    pub fn printed(&self, print: Print) -> impl Iterator<Item = usize> {
        let mut at = self.home(print.0);
        iter::from_fn(move || {
            let cell = self.cells[at];
            at = self.after(at);
            (cell.index != EMPTY).then_some(cell)
        })
        .filter(move |cell| cell.hash == print.0)
        .map(|cell| cell.index as usize)
    }

    /// Adds a place, of which there are no more than it was made for.
    pub fn add(&mut self, print: Print, place: usize) {
        let mut at = self.home(print.0);
        while self.cells[at].index != EMPTY {
            at = self.after(at);
        }
        self.cells[at] = Cell { hash: print.0, index: place as u32 };
    }

    /// Takes a place out that was added with this print.
    pub fn remove(&mut self, print: Print, place: usize) {
        let mut at = self.home(print.0);
        while self.cells[at].index != place as u32 {
            at = self.after(at);
        }
        self.close_gap(at);
    }

    /// Empties a cell and moves later ones back over it, so that every search still ends right.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.cells.len() - 1;
        let mut at = gap;
        loop {
            at = self.after(at);
            let cell = self.cells[at];
            if cell.index == EMPTY {
                break;
            }
            let from_home = at.wrapping_sub(self.home(cell.hash)) & mask;
            let from_gap = at.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.cells[gap] = cell;
                gap = at;
            }
        }
        self.cells[gap] = Cell { hash: 0, index: EMPTY };
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.cells.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.cells.len() - 1)
    }
}
