//! Who owns each of many short connections.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::flood::{self, Flood};
use crate::api::Api;
use crate::namespace::Namespace;
use crate::redteam::arena::{Arena, outside_address};
use crate::redteam::tree::{Scratch, Streams, Tree};

/// Each agent has a port of the server's to itself, so that no two of them share a five-tuple.
const FIRST_PORT: u16 = 26_000;
/// Agents at once: enough for them to overlap, few enough for two CPUs.
const AT_ONCE: usize = 10;
/// How long an agent may take, and the flows to be told.
const PATIENCE: Duration = Duration::from_secs(30);
/// Wrong rows that are shown.
const EXAMPLES: usize = 3;

/// What netd's API says of the connections.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    pub processes: usize,
    /// Connections with an owner that can be told: no two processes had the same protocol, address and port.
    pub connections: usize,
    pub ambiguous: usize,
    pub right: usize,
    pub wrong: usize,
    /// In the API, without a process.
    pub anonymous: usize,
    pub absent: usize,
    /// Right, but the executable is not named.
    pub without_details: usize,
    /// Some of the wrong ones, in words.
    pub examples: Vec<String>,
}

/// A connection: protocol, whether it is IPv6, its own port and the server's. Datagram sockets need not be bound to an
/// address.
type Key = (String, bool, u16, u16);

pub(super) fn play(processes: usize, connections: usize, flood_ms: u64) -> Result<(Owners, Flood)> {
    let mut arena = Arena::new()?;
    arena.watch("observe")?;
    let _sink = Sink::start(arena.outside(), processes)?;
    let api = arena.api().context("netd was not started")?;
    let folder = Scratch::new()?;

    let mut truth: HashMap<Key, HashSet<u32>> = HashMap::new();
    let mut numbers = 0..processes;
    loop {
        let batch = numbers.by_ref().take(AT_ONCE).map(|number| agent(&arena, &folder, number, connections));
        let batch = batch.collect::<Result<Vec<_>>>()?;
        if batch.is_empty() {
            break;
        }
        for (number, tree) in batch {
            for (key, pid) in ended(&folder, number, tree)? {
                truth.entry(key).or_default().insert(pid);
            }
        }
    }
    let owners = Owners { processes, ..judge(&api, &truth)? };
    let flood = flood::play(&arena, &api, flood_ms, FIRST_PORT)?;
    Ok((owners, flood))
}

fn agent(arena: &Arena, folder: &Scratch, number: usize, connections: usize) -> Result<(usize, Tree)> {
    let me = std::env::current_exe()?.display().to_string();
    let addresses = [outside_address(false).to_string(), outside_address(true).to_string()];
    let words = [me, "agent".into(), connections.to_string(), port(number).to_string()].into_iter().chain(addresses);
    let output = File::create(folder.path().join(format!("agent{number}")))?;
    let streams = Streams { input: None, output: Some(output) };
    let words: Vec<String> = words.collect();
    Ok((number, Tree::start(arena.victim(), &words, folder.path(), &format!("agent{number}"), streams)?))
}

fn ended(folder: &Scratch, number: usize, mut tree: Tree) -> Result<Vec<(Key, u32)>> {
    let pid = tree.child().id();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = tree.child().try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            bail!("an agent does not end");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let text = fs::read_to_string(folder.path().join(format!("agent{number}")))?;
    if !status.success() {
        bail!("an agent failed: {text}");
    }
    let key = |line: &str| -> Result<(Key, u32)> {
        let (protocol, address) = line.split_once(' ').context("no line of an agent")?;
        let own: SocketAddr = address.parse()?;
        Ok(((protocol.to_owned(), own.is_ipv6(), own.port(), port(number)), pid))
    };
    text.lines().map(key).collect()
}

fn port(agent: usize) -> u16 {
    FIRST_PORT + agent as u16
}

fn judge(api: &Api, truth: &HashMap<Key, HashSet<u32>>) -> Result<Owners> {
    let flows = settled(api, truth)?;
    let mut owners = Owners::default();
    for (key, pids) in truth {
        if pids.len() > 1 {
            owners.ambiguous += 1;
            continue;
        }
        owners.connections += 1;
        let Some(process) = flows.get(key) else {
            owners.absent += 1;
            continue;
        };
        match process["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()) {
            None => owners.anonymous += 1,
            Some(pid) if pids.contains(&pid) => {
                owners.right += 1;
                owners.without_details += usize::from(process["exe"].as_str().is_none());
                continue;
            }
            Some(_) => owners.wrong += 1,
        }
        if owners.examples.len() < EXAMPLES {
            owners.examples.push(format!("{key:?} is of {pids:?}, and netd says {process}"));
        }
    }
    Ok(owners)
}

/// Reads the flows until all are told with their processes, or for as long as anybody would wait: netd copies its live
/// flows for the API from time to time, the more of them the more seldom, and a copy may be older than a socket's record.
fn settled(api: &Api, truth: &HashMap<Key, HashSet<u32>>) -> Result<HashMap<Key, Value>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut flows = HashMap::new();
        for mut flow in api.items("/api/v1/flows")? {
            let port = |end: &str| flow[end].as_u64().and_then(|port| u16::try_from(port).ok());
            let (Some(own), Some(server)) = (port("originator_port"), port("responder_port")) else { continue };
            let is_v6 = flow["originator"].as_str().is_some_and(|address| address.contains(':'));
            let key = (flow["protocol"].as_str().unwrap_or_default().to_owned(), is_v6, own, server);
            if truth.contains_key(&key) {
                flows.insert(key, flow["process"].take());
            }
        }
        let is_right = |(key, pids): (&Key, &HashSet<u32>)| {
            let process: Option<&Value> = flows.get(key);
            let pid = process.and_then(|process| process["pid"].as_u64()).and_then(|pid| u32::try_from(pid).ok());
            pid.is_some_and(|pid| pids.contains(&pid)) && process.is_some_and(|process| process["exe"].is_string())
        };
        if truth.iter().all(is_right) || Instant::now() >= deadline {
            return Ok(flows);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Takes whatever comes, and answers nothing.
struct Sink {
    is_over: Arc<AtomicBool>,
}

impl Sink {
    fn start(namespace: &Namespace, agents: usize) -> Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        for is_v6 in [false, true] {
            let open = |agent: usize| -> Result<(TcpListener, UdpSocket)> {
                let address = SocketAddr::new(outside_address(is_v6), port(agent));
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok((listener, UdpSocket::bind(address)?))
            };
            let sockets = namespace.run(|| (0..agents).map(open).collect::<Result<Vec<_>>>())?;
            let over = Arc::clone(&is_over);
            thread::Builder::new().name("sink".into()).spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let accepted = sockets.iter().filter_map(|(listener, _)| listener.accept().ok());
                    let heard = accepted.map(|(stream, _)| hear(stream)).count();
                    if heard == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            })?;
        }
        Ok(Self { is_over })
    }
}

/// Reads to the end, so that the client's close is what ends the connection.
fn hear(stream: TcpStream) {
    // Whoever says nothing for so long has ended otherwise.
    if stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(Duration::from_millis(200)))).is_ok() {
        let _ = io::copy(&mut &stream, &mut io::sink());
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
