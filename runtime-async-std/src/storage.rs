//! The store's own thread: a slow disk never holds up the loop.

use std::{
    convert::Infallible,
    io,
    panic::{self, AssertUnwindSafe},
    sync::mpsc as std_mpsc,
    thread,
};

use async_std::channel;
use coracle_core::node::{Store, StoreId, StoreItem};
use tracing::error;

/// A store that keeps nothing: for embedders without a disk, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStore;

impl Store for NoStore {
    type Error = Infallible;

    fn store(&mut self, _: &StoreItem) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A write that is done, well or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) id: StoreId,
    pub(crate) ok: bool,
}

/// The way to the thread and back.
#[derive(Debug)]
pub(crate) struct Storage {
    // The node asks for one write a member at a time, so neither queue grows beyond that.
    to: std_mpsc::Sender<(StoreId, StoreItem)>,
    pub(crate) from: channel::Receiver<Written>,
}

impl Storage {
    pub(crate) fn start<S: Store>(mut store: S) -> io::Result<Self> {
        let (to, requests) = std_mpsc::channel::<(StoreId, StoreItem)>();
        let (answers, from) = channel::unbounded();
        let span = tracing::Span::current();
        thread::Builder::new().name("coracle-store".into()).spawn(move || {
            let _entered = span.entered();
            while let Ok((id, item)) = requests.recv() {
                // A store that panics has failed as well: the node must hear of it, or it waits for ever.
                let ok = match panic::catch_unwind(AssertUnwindSafe(|| store.store(&item))) {
                    Ok(Ok(())) => true,
                    Ok(Err(error)) => {
                        error!(%error, "storing failed; it is tried again");
                        false
                    }
                    Err(_) => {
                        error!("the store panicked; it is tried again");
                        false
                    }
                };
                let _ = answers.try_send(Written { id, ok });
            }
            // `finish` takes the end of the answers for the end of the store (and of its lock on a file).
            drop(store);
            drop(answers);
        })?;
        Ok(Self { to, from })
    }

    pub(crate) fn store(&self, id: StoreId, item: StoreItem) {
        // The thread ends only after this sender is gone.
        let _ = self.to.send((id, item));
    }

    /// Waits until everything asked for is written and the store is closed.
    pub(crate) async fn finish(self) {
        let Self { to, from } = self;
        drop(to);
        while from.recv().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use super::*;

    /// Takes its time to close.
    struct Slow(Arc<AtomicBool>);

    impl Store for Slow {
        type Error = Infallible;

        fn store(&mut self, _: &StoreItem) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl Drop for Slow {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(100));
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[async_std::test]
    async fn the_store_is_closed_when_finish_returns() {
        let closed = Arc::new(AtomicBool::new(false));
        let storage = Storage::start(Slow(Arc::clone(&closed))).unwrap();
        storage.finish().await;
        assert!(closed.load(Ordering::SeqCst));
    }
}
