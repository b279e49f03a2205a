//! A TCP forwarder in front of a server, whose connections a test can cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards connections to a server until dropped.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    gate: watch::Sender<Gate>,
    accepting: JoinHandle<()>,
}

/// Which connections live: those of the present generation, while the gate is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gate {
    generation: u64,
    open: bool,
}

impl Forwarder {
    /// Listens on a free port of 127.0.0.1 and forwards to `target`.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen")?;
        let address = listener.local_addr().context("read the address")?;
        let (gate, gates) = watch::channel(Gate { generation: 0, open: true });
        let connections = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, target, gates, Arc::clone(&connections)));
        Ok(Forwarder { address, connections, gate, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted and forwarded so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Cuts all connections in the middle of whatever they carry. New ones are forwarded.
    pub fn cut(&self) {
        self.gate.send_modify(|gate| gate.generation += 1);
    }

    /// Cuts all connections and closes new ones at once, until [`Forwarder::open`].
    pub fn close(&self) {
        self.gate.send_modify(|gate| gate.open = false);
    }

    /// Forwards again after [`Forwarder::close`].
    pub fn open(&self) {
        self.gate.send_modify(|gate| gate.open = true);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    gates: watch::Receiver<Gate>,
    connections: Arc<AtomicUsize>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let gate = *gates.borrow();
        if gate.open {
            connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(forward(client, target, gates.clone(), gate));
        }
    }
}

async fn forward(mut client: TcpStream, target: SocketAddr, mut gates: watch::Receiver<Gate>, born: Gate) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        // Also when the forwarder itself is dropped.
        _ = gates.wait_for(|gate| *gate != born) => {}
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
    }
}
