//! What a test needs of the adapter over async-std and of async-std itself, under the names that
//! `on_tokio` has too.

#![allow(dead_code, unused_imports)] // each test program uses another part of it

use std::{future::Future, time::Duration};

use async_broadcast::RecvError;

pub(crate) use async_std::{task::sleep, test};
pub(crate) use coracle_async_std::{
    AskError, Gone, Handle, Incoming, Limits, Listen, NoStore, OpenError, PeerStream, Sockets, Stopped,
    recording, start, start_recorded, start_with,
};
use coracle_core::node::Notice;
use futures::channel::oneshot;

pub(crate) type Notices = async_broadcast::Receiver<Notice>;

/// The next notice; `None` when the node has stopped, and how many were missed.
pub(crate) async fn next(notices: &mut Notices) -> Result<Option<Notice>, u64> {
    match notices.recv().await {
        Ok(notice) => Ok(Some(notice)),
        Err(RecvError::Closed) => Ok(None),
        Err(RecvError::Overflowed(missed)) => Err(missed),
    }
}

/// The next notice, if it is there already.
pub(crate) fn try_next(notices: &mut Notices) -> Option<Notice> {
    notices.try_recv().ok()
}

/// What the future gives, unless it takes longer.
pub(crate) async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    async_std::future::timeout(limit, future).await.ok()
}

/// Runs a future where no runtime is yet.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    async_std::task::block_on(future)
}

pub(crate) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    async_std::task::spawn(async move { done.send(future.await) });
    result
}

/// The stream as the traits of `futures` have it: it has them.
pub(crate) fn futures_io(stream: PeerStream) -> PeerStream {
    stream
}
