//! What a test needs of the adapter over tokio and of tokio itself, under the names that
//! `on_async_std` has too.

#![allow(dead_code, unused_imports)] // each test program uses another part of it

use std::{future::Future, time::Duration};

use coracle_core::node::Notice;
pub(crate) use coracle_tokio::{
    AskError, Gone, Handle, Incoming, Limits, Listen, NoStore, OpenError, PeerStream, Sockets, Stopped,
    recording, start, start_recorded, start_with,
};
use futures::channel::oneshot;
use tokio::sync::broadcast::{Receiver, error::RecvError};
pub(crate) use tokio::{test, time::sleep};

pub(crate) type Notices = Receiver<Notice>;

/// The next notice; `None` when the node has stopped, and how many were missed.
pub(crate) async fn next(notices: &mut Notices) -> Result<Option<Notice>, u64> {
    match notices.recv().await {
        Ok(notice) => Ok(Some(notice)),
        Err(RecvError::Closed) => Ok(None),
        Err(RecvError::Lagged(missed)) => Err(missed),
    }
}

/// The next notice, if it is there already.
pub(crate) fn try_next(notices: &mut Notices) -> Option<Notice> {
    notices.try_recv().ok()
}

/// What the future gives, unless it takes longer.
pub(crate) async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok()
}

/// Runs a future where no runtime is yet.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    tokio::spawn(async move { done.send(future.await) });
    result
}

/// The stream as the traits of `futures` have it.
pub(crate) fn futures_io(stream: PeerStream) -> tokio_util::compat::Compat<PeerStream> {
    tokio_util::compat::TokioAsyncReadCompatExt::compat(stream)
}
