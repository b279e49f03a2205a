//! The stream to a master, and things to wait for that may not be there.

use futures_util::future::BoxFuture;
use outrigger_rt::grpc::{DuplexReceiver, GrpcError};
use outrigger_wire::centre::{FromMaster, FromWorker};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(super) type Opening = BoxFuture<'static, Result<Stream, String>>;

pub(super) struct Stream {
    pub(super) sender: mpsc::Sender<FromWorker>,
    pub(super) receiver: DuplexReceiver<FromMaster>,
}

pub(super) async fn reserve(
    sender: Option<&mpsc::Sender<FromWorker>>,
) -> Option<mpsc::Permit<'_, FromWorker>> {
    match sender {
        Some(sender) => sender.reserve().await.ok(),
        None => std::future::pending().await,
    }
}

pub(super) async fn opened(opening: &mut Option<Opening>) -> Result<Stream, String> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next(
    receiver: Option<&mut DuplexReceiver<FromMaster>>,
) -> Result<Option<FromMaster>, GrpcError> {
    match receiver {
        Some(receiver) => receiver.next().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn finished<T>(running: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match running {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
