//! TLS on the attacker's side: `openssl s_server`, with a certificate made for the run.
//!
//! The attacker accepts the connection itself, so that its clock says when, and passes the ciphertext on.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::attacker::Line;
use super::tree::Scratch;
use super::variant::PATH;
use crate::namespace::Namespace;

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that is ready to take one connection.
#[derive(Debug)]
pub struct Tls {
    child: Child,
    port: u16,
    _folder: Scratch,
}

impl Tls {
    /// Makes a certificate and starts the server on loopback. Call it inside the namespace.
    ///
    /// # Errors
    ///
    /// When there is no openssl.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let folder = Scratch::new()?;
        let (key, certificate) = certificate(&folder)?;
        // Free a moment ago, in a namespace in which nobody else listens on loopback.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("openssl");
        command.env("PATH", PATH).args(["s_server", "-quiet", "-naccept", "1", "-accept"]);
        command.arg(format!("127.0.0.1:{port}")).arg("-cert").arg(certificate).arg("-key").arg(key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = namespace.command(&mut command)?.spawn().context("cannot start openssl")?;
        Ok(Self { child, port, _folder: folder })
    }

    /// Ends the TLS of an accepted connection.
    ///
    /// # Errors
    ///
    /// When the server does not come up.
    pub fn terminate(mut self, outside: TcpStream) -> Result<TlsLine> {
        let deadline = Instant::now() + PATIENCE;
        let inside = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                Err(e) => return Err(e).context("openssl s_server does not listen"),
            }
        };
        for (from, to) in [(outside.try_clone()?, inside.try_clone()?), (inside, outside)] {
            thread::Builder::new().name("ciphertext".into()).spawn(move || pass(from, to))?;
        }
        let stdout = self.child.stdout.take().context("openssl has no output")?;
        Ok(TlsLine { stdout, tls: self })
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        // It may have ended with the connection.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection in the clear.
#[derive(Debug)]
pub struct TlsLine {
    stdout: ChildStdout,
    tls: Tls,
}

impl Read for TlsLine {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stdout.read(buffer)
    }
}

impl Line for TlsLine {
    fn writer(&mut self) -> Result<Box<dyn Write + Send>> {
        let stdin = self.tls.child.stdin.take().context("openssl has no input")?;
        Ok(Box::new(stdin))
    }
}

fn certificate(folder: &Scratch) -> Result<(PathBuf, PathBuf)> {
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
    let made = Command::new("openssl")
        .env("PATH", PATH)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", "/CN=c2.example", "-days", "1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .context("cannot start openssl")?;
    if !made.status.success() || fs::metadata(&certificate).is_err() {
        bail!("openssl made no certificate: {}", String::from_utf8_lossy(&made.stderr));
    }
    Ok((key, certificate))
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // Either end may have gone first.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
