//! The control: each variant without netd, under strace. It shows that the variant is a shell, and what it asked the
//! kernel for.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::arena::Arena;
use super::attacker::{Attacker, Session};
use super::matrix::Trial;
use super::published::{Published, judge};
use super::trace;
use super::tree::{Scratch, Streams, Tree};
use super::variant::program;

/// How long a shell may take to connect under strace.
const PATIENCE: Duration = Duration::from_secs(6);
/// Until the shell waits for its first command.
const SETTLED: Duration = Duration::from_millis(200);

/// Runs a trial; returns what the published rules say, if there is an strace.
///
/// # Errors
///
/// When no shell answers: then the variant says nothing about netd either.
pub fn run(arena: &Arena, trial: &Trial) -> Result<Option<Published>> {
    let folder = Scratch::new()?;
    let record = folder.path().join("strace");
    let words = trial.words(folder.path())?;
    let traced = traced(&words, &record);
    let (opened, is_open) = mpsc::channel();
    let attacker = Attacker::start(arena.outside(), trial.plan(), opened)?;
    let tree = Tree::start(
        arena.victim(),
        traced.as_ref().unwrap_or(&words),
        folder.path(),
        &trial.port().to_string(),
        Streams::default(),
    )?;
    let mut terminals = Vec::new();
    if is_open.recv_timeout(PATIENCE).is_ok() {
        std::thread::sleep(SETTLED);
        terminals = tree.members().into_iter().filter_map(on_terminal).collect();
    }
    let session = attacker.wait();
    drop(tree);
    shell(&session?)?;
    if traced.is_none() {
        return Ok(None);
    }
    let record = fs::read(&record).context("strace wrote nothing")?;
    Ok(Some(judge(&trace::read(&String::from_utf8_lossy(&record)), &terminals)))
}

/// Puts strace before a command line, if there is one.
#[must_use]
pub fn traced(words: &[String], record: &Path) -> Option<Vec<String>> {
    program("strace")?;
    let options = ["strace", "-f", "-qq", "-yy", "-s", "200", "-e", "signal=none"].map(str::to_owned);
    let calls = ["-e".to_owned(), format!("trace={}", trace::CALLS), "-o".to_owned()];
    let record = [record.display().to_string(), "--".to_owned()];
    Some([options.as_slice(), &calls, &record, words].concat())
}

fn shell(session: &Session) -> Result<()> {
    if !session.is_shell {
        bail!("it connected, but no shell answered ({} bytes came)", session.bytes_after(0));
    }
    Ok(())
}

/// Returns the process's name, if it has a controlling terminal.
fn on_terminal(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    // After the name: state, parent, process group, session, terminal.
    (tail.split(' ').nth(4)? != "0").then_some(name)
}
