//! AES keys of sessions that are kept ready. Making them ready costs as much as a short packet does, and they are
//! three times as large as the rest of a session, so only some sessions have theirs here.
//!
//! Nothing depends on what is here: keys that are missing are made from the session's, for one packet or anew. Each
//! session has one slot, which it shares with others if there are more sessions than slots; who speaks last has it.

use alloc::boxed::Box;
use core::num::NonZeroU32;

use super::keys::ReadyKeys;
use crate::crypto::Crypto;

/// The ready keys of a session.
#[derive(Debug)]
struct Slot<C: Crypto> {
    /// The session's place, and one: so that an empty slot needs no memory of its own.
    owner: NonZeroU32,
    keys: ReadyKeys<C>,
}

/// The owner of a slot with the keys of the session in `place`.
fn owner(place: usize) -> NonZeroU32 {
    // There are fewer than 2³² places.
    NonZeroU32::MIN.saturating_add(place as u32)
}

/// The slots.
#[derive(Debug)]
pub(super) struct Kept<C: Crypto> {
    slots: Box<[Option<Slot<C>>]>,
}

impl<C: Crypto> Kept<C> {
    /// Room for the keys of so many sessions.
    pub(super) fn new(capacity: usize) -> Self {
        Self { slots: (0..capacity).map(|_| None).collect() }
    }

    /// The keys of the session in `place`, if they are here.
    pub(super) fn get(&self, place: usize) -> Option<&ReadyKeys<C>> {
        let slot = self.slots.get(place.checked_rem(self.slots.len())?)?.as_ref()?;
        (slot.owner == owner(place)).then_some(&slot.keys)
    }

    /// Keeps what `make` makes for the session in `place`, unless that is here or there is no room for any.
    pub(super) fn keep(&mut self, place: usize, make: impl FnOnce() -> ReadyKeys<C>) {
        if self.get(place).is_none()
            && let Some(at) = place.checked_rem(self.slots.len())
            && let Some(slot) = self.slots.get_mut(at)
        {
            *slot = Some(Slot { owner: owner(place), keys: make() });
        }
    }

    /// Wipes the keys of the session in `place`: they are in force no longer.
    pub(super) fn forget(&mut self, place: usize) {
        if self.get(place).is_some()
            && let Some(at) = place.checked_rem(self.slots.len())
            && let Some(slot) = self.slots.get_mut(at)
        {
            // Dropped where they stand.
            *slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::{RustCrypto, Secret, TAG_LEN},
        discovery::keys::Keys,
        id::NodeId,
    };

    fn ready(n: u8) -> ReadyKeys<RustCrypto> {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        Keys::initiator(&RustCrypto, &Secret::new([n; 33]), &a, &b, &[n; 63]).ready(&RustCrypto, &b)
    }

    fn tag(keys: &ReadyKeys<RustCrypto>) -> [u8; TAG_LEN] {
        RustCrypto.aes_gcm_seal(keys.send(), &[0; 12], b"", &mut [])
    }

    #[test]
    fn who_speaks_last_has_the_slot() {
        let mut kept = Kept::new(4);
        kept.keep(1, || ready(1));
        kept.keep(1, || panic!("they are here"));
        kept.keep(2, || ready(2));
        assert_eq!(kept.get(1).map(tag), Some(tag(&ready(1))));
        kept.keep(5, || ready(5));
        assert!(kept.get(1).is_none());
        assert_eq!(kept.get(5).map(tag), Some(tag(&ready(5))));
        // It is another's by now.
        kept.forget(1);
        assert!(kept.get(5).is_some());
        kept.forget(5);
        assert!(kept.get(5).is_none() && kept.get(2).is_some());
    }

    #[test]
    fn none_are_kept_without_room() {
        let mut kept = Kept::<RustCrypto>::new(0);
        kept.keep(0, || panic!("there is no room"));
        kept.forget(0);
        assert!(kept.get(0).is_none());
    }
}
