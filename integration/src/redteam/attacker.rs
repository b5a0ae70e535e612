//! The attacker: takes the shell, plays a fixed script of commands at a human's pace, and writes down what came when.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::arena::outside_address;
use super::now_ns;
use super::tls::Tls;
use super::variant::{Role, Transport};
use crate::namespace::Namespace;
use crate::traffic::socket::connect_tcp;

/// A human's pace: between two commands, and before the first.
pub const GAP: Duration = Duration::from_millis(300);
/// How long a shell may take to connect, or to listen.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long the answer to the last command may take.
const LAST: Duration = Duration::from_millis(700);
/// What is asked. The last one's answer holds what its question does not, so that no echo passes for an answer.
const COMMANDS: [&str; 5] = ["id\n", "uname -a\n", "hostname\n", "ls /\n", "seq 4041 4044\n"];
const MARKER: &[u8] = b"4042";
/// Kept of what came, to look for the marker in.
const MOST_KEPT: usize = 64 << 10;

/// Whom to expect.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where the attacker listens, or where the victim does.
    pub address: SocketAddr,
    pub transport: Transport,
    pub role: Role,
    /// Between two commands, and before the first.
    pub gap: Duration,
}

/// What the attacker saw.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Nanoseconds since 1970 at which the connection was there.
    pub opened_ns: u64,
    /// When the first command left.
    pub first_command_ns: u64,
    /// When bytes came, and how many.
    pub received: Vec<(u64, usize)>,
    /// Whether the last command was answered: what answered was a shell.
    pub is_shell: bool,
}

impl Session {
    /// Returns the bytes that came after a moment.
    #[must_use]
    pub fn bytes_after(&self, moment_ns: u64) -> usize {
        self.received.iter().filter(|(when, _)| *when > moment_ns).map(|(_, bytes)| bytes).sum()
    }
}

/// An attacker who waits for the shell of one run.
#[derive(Debug)]
pub struct Attacker {
    thread: thread::JoinHandle<Result<Session>>,
}

impl Attacker {
    /// Starts the attacker in its namespace. A listener listens when this returns. `opened` is told when the connection
    /// is there.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub fn start(namespace: &Namespace, plan: Plan, opened: mpsc::Sender<()>) -> Result<Self> {
        let (ready, is_ready) = mpsc::channel();
        let inside = namespace.clone();
        let thread = namespace.spawn("attacker", move || match (plan.role, plan.transport) {
            (Role::Listens, _) => play(dial(plan.address)?, plan.gap, &opened),
            (Role::Connects, Transport::Udp) => datagrams(plan, &ready, &opened),
            (Role::Connects, Transport::Tcp) => play(accept(&listen(plan.address, &ready)?)?, plan.gap, &opened),
            (Role::Connects, Transport::Tls) => {
                let listener = TcpListener::bind(plan.address)?;
                let tls = Tls::start(&inside)?;
                ready.send(())?;
                play(tls.terminate(accept(&listener)?)?, plan.gap, &opened)
            }
        })?;
        if plan.role == Role::Connects && is_ready.recv_timeout(PATIENCE).is_err() {
            return match thread.join() {
                Ok(Err(error)) => Err(error.context("the attacker cannot listen")),
                Ok(Ok(_)) | Err(_) => bail!("the attacker does not listen"),
            };
        }
        Ok(Self { thread })
    }

    /// Waits for the end of the session.
    ///
    /// # Errors
    ///
    /// When no shell came.
    pub fn wait(self) -> Result<Session> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Both directions of a connection, in the clear.
pub trait Line: Read + Send + 'static {
    /// Returns the way towards the shell.
    ///
    /// # Errors
    ///
    /// When there is none.
    fn writer(&mut self) -> Result<Box<dyn Write + Send>>;
}

impl Line for TcpStream {
    fn writer(&mut self) -> Result<Box<dyn Write + Send>> {
        Ok(Box::new(self.try_clone()?))
    }
}

fn listen(address: SocketAddr, ready: &mpsc::Sender<()>) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    ready.send(())?;
    Ok(listener)
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(Duration::from_micros(500));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => bail!("no shell came"),
            Err(e) => return Err(e.into()),
        }
    }
}

fn dial(address: SocketAddr) -> Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The outside's own address: the one it would choose is the victim's gateway's, which is protected.
        match connect_tcp(outside_address(address.is_ipv6()), address, Duration::from_millis(500)) {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Err(e) => return Err(e).context("nothing listens"),
        }
    }
}

fn play(mut line: impl Line, gap: Duration, opened: &mpsc::Sender<()>) -> Result<Session> {
    let mut session = Session { opened_ns: now_ns(), ..Session::default() };
    // Whoever waited for this may have given up.
    let _ = opened.send(());
    let mut writer = line.writer()?;
    let (send, received) = mpsc::channel();
    // It ends with the connection: the run kills the shell, or the stream is shut below.
    thread::Builder::new().name("listener".into()).spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = line.read(&mut buffer) {
            if send.send((now_ns(), buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    })?;
    script(&mut session, gap, &received, |command| writer.write_all(command).and_then(|()| writer.flush()));
    Ok(session)
}

fn datagrams(plan: Plan, ready: &mpsc::Sender<()>, opened: &mpsc::Sender<()>) -> Result<Session> {
    let socket = UdpSocket::bind(plan.address).with_context(|| format!("cannot listen at {}", plan.address))?;
    ready.send(())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 16 << 10];
    let (length, from) = socket.recv_from(&mut buffer).context("no shell came")?;
    let mut session = Session { opened_ns: now_ns(), ..Session::default() };
    let _ = opened.send(());
    socket.connect(from)?;
    let (send, received) = mpsc::channel();
    send.send((session.opened_ns, buffer[..length].to_vec()))?;
    let inbound = socket.try_clone()?;
    inbound.set_read_timeout(Some(plan.gap * 8))?;
    thread::Builder::new().name("listener".into()).spawn(move || {
        // A datagram that nobody took comes back as a refusal: the next one may be taken.
        loop {
            match inbound.recv(&mut buffer) {
                Ok(length) if send.send((now_ns(), buffer[..length].to_vec())).is_ok() => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Ok(_) | Err(_) => return,
            }
        }
    })?;
    script(&mut session, plan.gap, &received, |command| socket.send(command).map(drop));
    Ok(session)
}

/// Sends the commands, each after a gap, and writes down what comes meanwhile.
fn script(
    session: &mut Session,
    gap: Duration,
    received: &Receiver<(u64, Vec<u8>)>,
    mut send: impl FnMut(&[u8]) -> io::Result<()>,
) {
    let mut kept = Vec::new();
    for command in COMMANDS {
        listen_for(gap, session, received, &mut kept);
        if session.first_command_ns == 0 {
            session.first_command_ns = now_ns();
        }
        // A connection that was cut refuses sooner or later; what came before counts.
        if send(command.as_bytes()).is_err() {
            break;
        }
    }
    listen_for(LAST, session, received, &mut kept);
    session.is_shell = kept.windows(MARKER.len()).any(|window| window == MARKER);
}

fn listen_for(span: Duration, session: &mut Session, received: &Receiver<(u64, Vec<u8>)>, kept: &mut Vec<u8>) {
    let until = Instant::now() + span;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match received.recv_timeout(left) {
            Ok((when, bytes)) => {
                session.received.push((when, bytes.len()));
                let room = MOST_KEPT.saturating_sub(kept.len()).min(bytes.len());
                kept.extend_from_slice(&bytes[..room]);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => return,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                thread::sleep(until.saturating_duration_since(Instant::now()));
                return;
            }
        }
    }
}
