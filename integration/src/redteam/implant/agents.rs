//! Harmless programs of the attribution campaign: many short connections, many short processes.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Processes that a spawner starts at most, whatever time it has.
const MOST_SPAWNED: u64 = 30_000;

/// `agent COUNT PORT IP4 IP6`: connects, sends and closes at once, by turns over TCP and UDP, IPv4 and IPv6, UDP
/// connected and not. Prints the protocol, address and port of its own end of each.
///
/// # Errors
///
/// When a connection fails.
pub fn connections(words: &[String]) -> Result<()> {
    let [count, port, v4, v6] = words else { bail!("agent COUNT PORT IP4 IP6") };
    let (count, port): (u32, u16) = (count.parse()?, port.parse()?);
    let addresses: [IpAddr; 2] = [v4.parse()?, v6.parse()?];
    let mut lines = String::new();
    for number in 0..count {
        let to = SocketAddr::new(addresses[number as usize % 2], port);
        let (protocol, own) = match number / 2 % 3 {
            0 => ("tcp", tcp(to)?),
            1 => ("udp", datagram(to, true)?),
            _ => ("udp", datagram(to, false)?),
        };
        lines += &format!("{protocol} {own}\n");
    }
    std::io::stdout().write_all(lines.as_bytes())?;
    Ok(())
}

fn tcp(to: SocketAddr) -> Result<SocketAddr> {
    let mut stream = TcpStream::connect(to).with_context(|| format!("cannot connect to {to}"))?;
    stream.write_all(b"hello\n")?;
    Ok(stream.local_addr()?)
}

fn datagram(to: SocketAddr, is_connected: bool) -> Result<SocketAddr> {
    let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    if is_connected {
        socket.connect(to)?;
        socket.send(b"hello\n")?;
    } else {
        socket.send_to(b"hello\n", to)?;
    }
    Ok(socket.local_addr()?)
}

/// `spawner MILLISECONDS`: starts `/bin/true` as fast as four threads can. Prints how many it started.
///
/// # Errors
///
/// When it cannot start one.
pub fn spawner(words: &[String]) -> Result<()> {
    let [span] = words else { bail!("spawner MILLISECONDS") };
    let until = Instant::now() + Duration::from_millis(span.parse()?);
    let started = AtomicU64::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| spawn_until(until, &started))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    writeln!(std::io::stdout(), "{}", started.load(Ordering::Relaxed))?;
    Ok(())
}

fn spawn_until(until: Instant, started: &AtomicU64) -> Result<()> {
    while Instant::now() < until && started.fetch_add(1, Ordering::Relaxed) < MOST_SPAWNED {
        let mut command = Command::new("/bin/true");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    }
    Ok(())
}
