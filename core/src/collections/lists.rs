//! Several ordered lists over one set of places: each place stands in at most one list.

use alloc::boxed::Box;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Head {
    first: u32,
    last: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    list: u32,
    before: u32,
    after: u32,
}

const FREE: Link = Link { list: NONE, before: NONE, after: NONE };

/// Doubly linked lists of place numbers (the places of a [`Slab`](super::Slab), usually). Every
/// operation takes constant time.
#[derive(Debug)]
pub struct Lists {
    heads: Box<[Head]>,
    links: Box<[Link]>,
}

impl Lists {
    /// `lists` empty lists over the places `0..places`.
    pub fn new(lists: usize, places: usize) -> Self {
        let empty = Head { first: NONE, last: NONE, len: 0 };
        Self { heads: (0..lists).map(|_| empty).collect(), links: (0..places).map(|_| FREE).collect() }
    }

    /// How many places stand in `list`.
    pub fn len(&self, list: usize) -> usize {
        self.heads.get(list).map_or(0, |head| head.len as usize)
    }

    /// Whether `list` is empty.
    pub fn is_empty(&self, list: usize) -> bool {
        self.len(list) == 0
    }

    /// The first place of `list`: the one that was put in earliest.
    pub fn first(&self, list: usize) -> Option<usize> {
        self.heads.get(list).map(|head| head.first).filter(|at| *at != NONE).map(|at| at as usize)
    }

    /// The list in which `place` stands.
    pub fn list_of(&self, place: usize) -> Option<usize> {
        self.links.get(place).map(|link| link.list).filter(|list| *list != NONE).map(|list| list as usize)
    }

    /// Puts `place` at the end of `list`, taking it out of the list it stood in.
    pub fn push(&mut self, list: usize, place: usize) {
        self.remove(place);
        let (Some(head), true) = (self.heads.get_mut(list), place < self.links.len()) else { return };
        let last = head.last;
        head.last = place as u32;
        head.len += 1;
        if last == NONE {
            head.first = place as u32;
        } else {
            self.links[last as usize].after = place as u32;
        }
        self.links[place] = Link { list: list as u32, before: last, after: NONE };
    }

    /// Takes `place` out of its list, if it stands in one.
    pub fn remove(&mut self, place: usize) {
        let Some(link) = self.links.get(place).copied().filter(|link| link.list != NONE) else { return };
        let head = &mut self.heads[link.list as usize];
        head.len -= 1;
        if link.before == NONE {
            head.first = link.after;
        }
        if link.after == NONE {
            head.last = link.before;
        }
        if let Some(before) = self.links.get_mut(link.before as usize) {
            before.after = link.after;
        }
        if let Some(after) = self.links.get_mut(link.after as usize) {
            after.before = link.before;
        }
        self.links[place] = FREE;
    }

    /// The places of `list`, in order.
    pub fn iter(&self, list: usize) -> impl Iterator<Item = usize> {
        let mut at = self.first(list);
        core::iter::from_fn(move || {
            let place = at?;
            let after = self.links[place].after;
            at = (after != NONE).then_some(after as usize);
            Some(place)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    #[test]
    fn places_move_between_lists() {
        let mut lists = Lists::new(2, 4);
        for place in 0..4 {
            lists.push(0, place);
        }
        lists.push(1, 2);
        lists.push(0, 0);
        assert_eq!(lists.iter(0).collect::<Vec<_>>(), vec![1, 3, 0]);
        assert_eq!(lists.iter(1).collect::<Vec<_>>(), vec![2]);
        lists.remove(3);
        lists.remove(3);
        assert_eq!((lists.len(0), lists.first(0), lists.list_of(3)), (2, Some(1), None));
        lists.remove(1);
        lists.remove(0);
        assert!(lists.is_empty(0) && lists.first(0).is_none());
        lists.push(0, 9);
        assert!(lists.is_empty(0));
    }
}
