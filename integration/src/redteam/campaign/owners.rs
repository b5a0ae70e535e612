//! Who owns each of many short connections.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
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

const PORT: u16 = 26_000;
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

/// The victim's end of a connection.
type End = (String, SocketAddr);

pub(super) fn play(processes: usize, connections: usize, flood_ms: u64) -> Result<(Owners, Flood)> {
    let mut arena = Arena::new()?;
    arena.watch("observe")?;
    let _sink = Sink::start(arena.outside())?;
    let api = arena.api().context("netd was not started")?;
    let folder = Scratch::new()?;

    let mut truth: HashMap<End, HashSet<u32>> = HashMap::new();
    let mut numbers = 0..processes;
    loop {
        let batch = numbers.by_ref().take(AT_ONCE).map(|number| agent(&arena, &folder, number, connections));
        let batch = batch.collect::<Result<Vec<_>>>()?;
        if batch.is_empty() {
            break;
        }
        for (number, tree) in batch {
            for (end, pid) in ended(&folder, number, tree)? {
                truth.entry(end).or_default().insert(pid);
            }
        }
    }
    let owners = Owners { processes, ..judge(&api, &truth)? };
    let flood = flood::play(&arena, &api, flood_ms, PORT)?;
    Ok((owners, flood))
}

fn agent(arena: &Arena, folder: &Scratch, number: usize, connections: usize) -> Result<(usize, Tree)> {
    let me = std::env::current_exe()?.display().to_string();
    let addresses = [outside_address(false).to_string(), outside_address(true).to_string()];
    let words = [me, "agent".into(), connections.to_string(), PORT.to_string()].into_iter().chain(addresses);
    let output = File::create(folder.path().join(format!("agent{number}")))?;
    let streams = Streams { input: None, output: Some(output) };
    let words: Vec<String> = words.collect();
    Ok((number, Tree::start(arena.victim(), &words, folder.path(), &format!("agent{number}"), streams)?))
}

fn ended(folder: &Scratch, number: usize, mut tree: Tree) -> Result<Vec<(End, u32)>> {
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
    let end = |line: &str| -> Result<(End, u32)> {
        let (protocol, address) = line.split_once(' ').context("no line of an agent")?;
        Ok(((protocol.to_owned(), address.parse()?), pid))
    };
    text.lines().map(end).collect()
}

/// A socket that was not bound to an address says none: the port and the version of IP are what is compared.
fn key((protocol, address): &End) -> (String, bool, u16) {
    (protocol.clone(), address.is_ipv6(), address.port())
}

fn judge(api: &Api, truth: &HashMap<End, HashSet<u32>>) -> Result<Owners> {
    let mut wanted: HashMap<(String, bool, u16), HashSet<u32>> = HashMap::new();
    for (end, pids) in truth {
        wanted.entry(key(end)).or_default().extend(pids);
    }
    let flows = settled(api, wanted.len())?;
    let mut owners = Owners::default();
    for (key, pids) in &wanted {
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

/// Reads the flows until as many are told as there are, or no more come.
fn settled(api: &Api, wanted: usize) -> Result<HashMap<(String, bool, u16), Value>> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = usize::MAX;
    loop {
        let mut flows = HashMap::new();
        for mut flow in api.items(&format!("/api/v1/flows?port={PORT}"))? {
            let port = flow["originator_port"].as_u64().and_then(|port| u16::try_from(port).ok());
            let (Some(port), Some(protocol)) = (port, flow["protocol"].as_str()) else { continue };
            let is_v6 = flow["originator"].as_str().is_some_and(|address| address.contains(':'));
            flows.insert((protocol.to_owned(), is_v6, port), flow["process"].take());
        }
        let is_whole = flows.len() >= wanted && flows.len() == before;
        if is_whole || Instant::now() >= deadline {
            return Ok(flows);
        }
        before = flows.len();
        thread::sleep(Duration::from_secs(1));
    }
}

/// Takes whatever comes, and answers nothing.
struct Sink {
    is_over: Arc<AtomicBool>,
}

impl Sink {
    fn start(namespace: &Namespace) -> Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        for is_v6 in [false, true] {
            let address = SocketAddr::new(outside_address(is_v6), PORT);
            let (listener, socket) =
                namespace.run(|| Ok((TcpListener::bind(address)?, UdpSocket::bind(address)?)))?;
            listener.set_nonblocking(true)?;
            let over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // A connection is read to its end by closing it after the client has.
                    match listener.accept() {
                        Ok((stream, _)) => drop(thread::spawn(move || drop(std::io::read_to_string(stream)))),
                        Err(_) => thread::sleep(Duration::from_millis(1)),
                    }
                }
                drop(socket);
            });
        }
        Ok(Self { is_over })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
