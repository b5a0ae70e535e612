//! Faults around the host: its gateway, resolver and addresses change, and wide lists meet those who manage it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::mount::{MsFlags, mount};

use super::{Outcome, Row, Setting};
use crate::daemon::{Daemon, Setup};
use crate::lab::{IMPLANT, Lab, WEB};
use crate::namespace::Namespace;
use crate::traffic::socket::connect_tcp;

pub const ROWS: &[Row] = &[
    Row {
        id: "T06b",
        fault: "the default gateway, the resolver and an own address become others, all of which are listed",
        goal: "gateway and address are answered within 1 s, the resolver within 2 s, and cut again when they are gone",
        play: moved,
    },
    Row {
        id: "T60b",
        fault: "a list holds everybody: one is logged in, one has only connected to port 22",
        goal: "whoever is logged in is answered, the other is not",
        play: managed,
    },
];

const PORT: u16 = 7_777;
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an echo may take where nothing is cut.
const ECHO: Duration = Duration::from_millis(50);
/// How long something is silent before it counts as cut.
const SILENCE: Duration = Duration::from_millis(400);

/// The gateway that the lab begins with, and the one it moves to, beside the originators.
const OLD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const NEW: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);
/// The address that the host is given.
const LEASED: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 98);
const RESOLVER: Ipv4Addr = WEB[2];
const RESOLV_CONF: &str = "/etc/resolv.conf";

fn moved(setting: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let resolvers = |text: String| lab.watched().run(move || Ok(fs::write("/run/resolv.conf", text)?));
    lab.watched().run(own_run)?;
    resolvers(String::new())?;
    let has_resolver = Path::new(RESOLV_CONF).is_file();
    if has_resolver {
        lab.watched().run(|| bind("/run/resolv.conf", RESOLV_CONF))?;
    }
    // The new gateway is a neighbour behind the same link.
    let far = mac_of(lab.wan())?;
    lab.watched().ip(&[format!("neighbour replace {NEW} dev eth0 lladdr {far} nud permanent")])?;
    lab.wan().ip(&[format!("address add {NEW}/32 dev eth0")])?;
    for address in [NEW, RESOLVER, WEB[0]] {
        echo(lab.wan(), address)?;
    }
    let daemon = Daemon::start(&lab, Setup::default())?;
    let listed = format!("{NEW}\n{RESOLVER}\n{LEASED}\n");
    daemon.api().send("PUT", "/api/v1/blocklists/around", "text/plain", &listed)?.accepted()?;
    ensure!(is_silent(&lab, NEW)? && is_silent(&lab, RESOLVER)?, "the list does not act");

    let (mut slowest, mut cut_again) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..setting.amount(20, 1) {
        let begun = Instant::now();
        lab.watched().ip(&[format!("route replace default via {NEW} dev eth0 onlink")])?;
        slowest = slowest.max(answered(&lab, None, NEW, begun)?);
        let begun = Instant::now();
        lab.watched().ip(&[format!("address add {LEASED}/32 dev eth0")])?;
        slowest = slowest.max(answered(&lab, Some(LEASED), WEB[0], begun)?);

        let begun = Instant::now();
        lab.watched()
            .ip(&[format!("route replace default via {OLD} dev eth0"), format!("address del {LEASED}/32 dev eth0")])?;
        cut_again = cut_again.max(silent(&lab, NEW, begun)?);
    }
    let mut resolver = Duration::ZERO;
    if has_resolver {
        let begun = Instant::now();
        resolvers(format!("nameserver {RESOLVER}\n"))?;
        resolver = answered(&lab, None, RESOLVER, begun)?;
        resolvers(String::new())?;
        silent(&lab, RESOLVER, Instant::now())?;
    }
    let changes = daemon.api().get("/api/v1/status")?["protected"]["changes"].as_u64().unwrap_or(0);
    let measured = format!(
        "answered within {slowest:.0?}, the resolver within {resolver:.0?}, cut again within {cut_again:.1?}; \
         {changes} changes"
    );
    let holds = slowest < Duration::from_secs(1) && resolver < Duration::from_secs(2) && changes > 0;
    Ok(Outcome { measured, holds })
}

/// Answers datagrams, for as long as the process lives.
fn echo(namespace: &Namespace, address: Ipv4Addr) -> Result<()> {
    let socket = namespace.run(|| Ok(UdpSocket::bind((address, PORT))?))?;
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            // Whoever asks looks whether an answer comes.
            let _ = socket.send_to(&buffer[..len], from);
        }
    });
    Ok(())
}

/// Returns how long it took from `begun` until `to` answered the watched host.
fn answered(lab: &Lab, from: Option<Ipv4Addr>, to: Ipv4Addr, begun: Instant) -> Result<Duration> {
    while begun.elapsed() < PATIENCE {
        if asks(lab, from, to)? {
            return Ok(begun.elapsed());
        }
    }
    bail!("{to} never answered")
}

/// Returns how long it took from `begun` until `to` was cut.
fn silent(lab: &Lab, to: Ipv4Addr, begun: Instant) -> Result<Duration> {
    while begun.elapsed() < PATIENCE {
        let at = begun.elapsed();
        if is_silent(lab, to)? {
            return Ok(at);
        }
    }
    bail!("{to} is not cut again")
}

fn is_silent(lab: &Lab, to: Ipv4Addr) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < SILENCE {
        if asks(lab, None, to)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Asks once, from a socket of its own.
fn asks(lab: &Lab, from: Option<Ipv4Addr>, to: Ipv4Addr) -> Result<bool> {
    lab.watched().run(|| {
        // An address that has just come, or a route that has just gone, refuses.
        let Ok(socket) = UdpSocket::bind((from.unwrap_or(Ipv4Addr::UNSPECIFIED), 0)) else { return Ok(false) };
        socket.set_read_timeout(Some(ECHO))?;
        Ok(socket.send_to(b"?", (to, PORT)).is_ok() && socket.recv_from(&mut [0; 8]).is_ok())
    })
}

/// Returns the hardware address of a namespace's link.
fn mac_of(namespace: &Namespace) -> Result<String> {
    let mut command = std::process::Command::new("ip");
    let output = namespace.command(command.args(["-o", "link", "show", "dev", "eth0"]))?.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mac = text.split_once("link/ether ").and_then(|(_, rest)| rest.split_whitespace().next());
    Ok(mac.context("eth0 has no hardware address")?.to_owned())
}

/// Gives the mount namespace of this thread a /run of its own.
fn own_run() -> Result<()> {
    mount(None::<&str>, "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).context("cannot mount /run")
}

fn bind(from: &str, over: &str) -> Result<()> {
    mount(Some(from), over, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("cannot mount over a file")
}

const OPERATOR: Ipv4Addr = WEB[5];
const STRANGER: Ipv4Addr = WEB[4];

fn managed(_: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    // What systemd-logind would have written.
    lab.watched().run(|| {
        own_run()?;
        fs::create_dir_all("/run/systemd/sessions")?;
        let session = format!("UID=1000\nSTATE=active\nREMOTE=1\nCLASS=user\nREMOTE_HOST={OPERATOR}\n");
        Ok(fs::write("/run/systemd/sessions/1", session)?)
    })?;
    let listener = lab.watched().run(|| Ok(TcpListener::bind((IMPLANT, 22))?))?;
    let mut operator = Session::open(&lab, &listener, OPERATOR)?;
    let mut stranger = Session::open(&lab, &listener, STRANGER)?;
    let daemon = Daemon::start(&lab, Setup::default())?;
    let api = daemon.api();
    let who = |status: &serde_json::Value| {
        let managers = status["managers"].as_array()?;
        let addresses: Vec<_> = managers.iter().filter_map(|one| one["address"].as_str().map(str::to_owned)).collect();
        (!addresses.is_empty()).then_some(addresses)
    };
    let managers = api.until("/api/v1/status", PATIENCE, who)?;

    api.send("PUT", "/api/v1/blocklists/wide", "text/plain", "198.51.100.0/24\n")?.accepted()?;
    let operator_is_answered = operator.is_answered()?;
    let stranger_is_answered = stranger.is_answered()?;
    let refused = api.block(&serde_json::json!({"target": {"address": OPERATOR}})).is_err();

    let said = |is_answered: bool| if is_answered { "answered" } else { "cut" };
    let measured = format!(
        "logged in: {}, only connected: {}; protected: {}",
        said(operator_is_answered),
        said(stranger_is_answered),
        managers.join(" ")
    );
    let holds = operator_is_answered && !stranger_is_answered && refused && managers == [OPERATOR.to_string()];
    Ok(Outcome { measured, holds })
}

/// A connection to the watched host's port 22, held at both ends.
struct Session {
    near: TcpStream,
    far: TcpStream,
}

impl Session {
    fn open(lab: &Lab, listener: &TcpListener, from: Ipv4Addr) -> Result<Self> {
        let to = SocketAddr::from((IMPLANT, 22));
        let far = lab.wan().run(|| Ok(connect_tcp(IpAddr::V4(from), to, PATIENCE)?))?;
        let (near, _) = listener.accept()?;
        for end in [&near, &far] {
            end.set_read_timeout(Some(SILENCE * 5))?;
        }
        Ok(Self { near, far })
    }

    /// Returns whether a byte goes there and back.
    fn is_answered(&mut self) -> Result<bool> {
        self.far.write_all(b"?")?;
        let mut byte = [0];
        if self.near.read_exact(&mut byte).is_err() {
            return Ok(false);
        }
        self.near.write_all(&byte)?;
        Ok(self.far.read_exact(&mut byte).is_ok())
    }
}
