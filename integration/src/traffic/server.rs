//! Servers that answer as their clients agreed with them, and count what arrived.
//!
//! A client of the laboratory says beforehand, past the network, how long its next request is and what the answer to it
//! shall be. So the payload on the wire can be anything, and an answer proves that every byte of the request arrived.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;
use crate::traffic::{Stop, unix_ns};

/// How often a waiting thread looks whether it must end.
const GLANCE: Duration = Duration::from_millis(50);
const MOST_CONNECTIONS: usize = 512;

/// A server at work in a namespace, until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    books: Books,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

/// What arrived at a server. Bytes are payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub bytes: u64,
    /// Datagrams; for TCP the number of reads, which is only a hint.
    pub packets: u64,
    /// Nanoseconds since 1970 of the first and the last byte; 0 if there was none.
    pub first_ns: u64,
    pub last_ns: u64,
}

/// Where clients say what they are about to ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    received: BTreeMap<SocketAddr, Received>,
    awaited: HashMap<SocketAddr, Awaited>,
}

/// The request that comes next from a client.
#[derive(Debug)]
struct Awaited {
    missing: usize,
    answer: Vec<u8>,
}

impl Server {
    /// Listens for TCP connections at `address` in `namespace`.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub fn tcp(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let listener = namespace.run(|| {
            let listener = TcpListener::bind(address).with_context(|| format!("cannot listen at tcp {address}"))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?;
        Self::start(namespace, address, move |books, stop| accept(&listener, books, stop))
    }

    /// Answers datagrams at `address` in `namespace`.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub fn udp(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let socket = namespace.run(|| {
            let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen at udp {address}"))?;
            socket.set_read_timeout(Some(GLANCE))?;
            Ok(socket)
        })?;
        Self::start(namespace, address, move |books, stop| answer_datagrams(&socket, books, stop))
    }

    fn start(
        namespace: &Namespace,
        address: SocketAddr,
        work: impl FnOnce(&Books, &Stop) + Send + 'static,
    ) -> Result<Self> {
        let (books, stop) = (Books::default(), Stop::default());
        let thread = {
            let (books, stop) = (books.clone(), stop.clone());
            let name = format!("{}-server", namespace.name());
            std::thread::Builder::new().name(name).spawn(move || work(&books, &stop))?
        };
        Ok(Self { address, books, stop, threads: vec![thread] })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what arrived from each client address and port.
    #[must_use]
    pub fn received(&self) -> BTreeMap<SocketAddr, Received> {
        self.books.open().received.clone()
    }

    /// Returns what arrived from an address, all its ports together.
    #[must_use]
    pub fn received_from(&self, client: IpAddr) -> Received {
        let pages = self.books.open();
        sum(pages.received.iter().filter(|(address, _)| address.ip() == client).map(|(_, received)| received))
    }

    /// Returns what arrived altogether.
    #[must_use]
    pub fn total(&self) -> Received {
        sum(self.books.open().received.values())
    }

    pub(crate) fn books(&self) -> Books {
        self.books.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        for thread in self.threads.drain(..) {
            // A server that panicked has already said so.
            let _ = thread.join();
        }
    }
}

impl Books {
    /// Announces a request of `length` bytes from `client`, and the answer to it.
    pub(crate) fn announce(&self, client: SocketAddr, length: usize, answer: Vec<u8>) {
        self.open().awaited.insert(client, Awaited { missing: length, answer });
    }

    /// Takes the announcement back: the client closes.
    pub(crate) fn forget(&self, client: SocketAddr) {
        self.open().awaited.remove(&client);
    }

    /// Enters `bytes` from `client`; returns the answer when they complete its request.
    fn enter(&self, client: SocketAddr, bytes: usize) -> Option<Vec<u8>> {
        let now = unix_ns(SystemTime::now());
        let mut pages = self.open();
        let received = pages.received.entry(client).or_default();
        received.bytes += bytes as u64;
        received.packets += 1;
        received.last_ns = now;
        if received.first_ns == 0 {
            received.first_ns = now;
        }
        let awaited = pages.awaited.get_mut(&client)?;
        awaited.missing = awaited.missing.saturating_sub(bytes);
        if awaited.missing > 0 {
            return None;
        }
        pages.awaited.remove(&client).map(|awaited| awaited.answer)
    }

    fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sum<'r>(all: impl Iterator<Item = &'r Received>) -> Received {
    all.fold(Received::default(), |sum, one| Received {
        bytes: sum.bytes + one.bytes,
        packets: sum.packets + one.packets,
        first_ns: if sum.first_ns == 0 { one.first_ns } else { sum.first_ns.min(one.first_ns) },
        last_ns: sum.last_ns.max(one.last_ns),
    })
}

fn accept(listener: &TcpListener, books: &Books, stop: &Stop) {
    let open = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        while !stop.is_stopped() {
            if !is_readable(listener) {
                continue;
            }
            let Ok((stream, client)) = listener.accept() else { continue };
            if open.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let open = &open;
            scope.spawn(move || {
                serve(stream, client, books, stop);
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
}

/// Waits a glance for a connection.
fn is_readable(listener: &TcpListener) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;
    let timeout = PollTimeout::try_from(GLANCE).unwrap_or(PollTimeout::ZERO);
    poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], timeout).is_ok_and(|ready| ready > 0)
}

fn serve(mut stream: TcpStream, client: SocketAddr, books: &Books, stop: &Stop) {
    let mut buffer = vec![0; 64 * 1024];
    let ready = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(GLANCE)));
    // A peer that reads nothing must not hold the thread.
    if ready.and_then(|()| stream.set_write_timeout(Some(Duration::from_secs(5)))).is_err() {
        return;
    }
    let _ = stream.set_nodelay(true);
    while !stop.is_stopped() {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(bytes) => {
                if let Some(answer) = books.enter(client, bytes)
                    && stream.write_all(&answer).is_err()
                {
                    return;
                }
            }
            Err(e) if is_a_pause(&e) => {}
            // A reset is what a cut connection looks like from here.
            Err(_) => return,
        }
    }
}

fn answer_datagrams(socket: &UdpSocket, books: &Books, stop: &Stop) {
    let mut buffer = vec![0; 64 * 1024];
    while !stop.is_stopped() {
        let Ok((bytes, client)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(answer) = books.enter(client, bytes)
            && !answer.is_empty()
        {
            // A lost answer is the client's to notice.
            let _ = socket.send_to(&answer, client);
        }
    }
}

fn is_a_pause(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    [Interrupted, TimedOut, WouldBlock].contains(&error.kind())
}
