//! Processes that end with the run that started them, however they detach themselves: each carries a mark in its
//! environment, which its children inherit.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::variant::PATH;
use crate::namespace::Namespace;

/// The variable that holds the mark.
pub const MARK: &str = "NETD_REDTEAM";
/// Looks at `/proc` until nothing is left: a process may fork while it is read.
const ROUNDS: u32 = 40;

/// Returns the beginning of every mark of this process.
#[must_use]
pub fn run_mark() -> String {
    format!("{}.", std::process::id())
}

/// A process and all that come of it. Dropping it kills them.
#[derive(Debug)]
pub struct Tree {
    child: Child,
    mark: String,
}

/// Where a tree's streams lead.
#[derive(Debug, Default)]
pub struct Streams {
    /// A file; nothing when absent.
    pub input: Option<File>,
    /// A file for both outputs.
    pub output: Option<File>,
}

impl Tree {
    /// Starts `words` in `namespace` and `folder`, in a clean environment.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn start(namespace: &Namespace, words: &[String], folder: &Path, name: &str, streams: Streams) -> Result<Self> {
        let (program, arguments) = words.split_first().context("an empty command line")?;
        let mark = format!("{}{name}.", run_mark());
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env_clear();
        command.env("PATH", PATH).env("HOME", folder).env("TERM", "dumb").env("LANG", "C.UTF-8").env(MARK, &mark);
        command.stdin(streams.input.map_or_else(Stdio::null, Stdio::from));
        match streams.output {
            Some(file) => command.stdout(file.try_clone()?).stderr(file),
            None => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        let child = namespace.command(&mut command)?.spawn().with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, mark })
    }

    /// Returns the first process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns the processes of the tree.
    #[must_use]
    pub fn members(&self) -> Vec<u32> {
        marked(&self.mark)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // The first one may have ended long ago.
        let _ = self.child.kill();
        end_marked(&self.mark);
        let _ = self.child.wait();
    }
}

/// Kills every process whose mark begins so.
pub fn end_marked(mark: &str) {
    end_all(|| marked(mark));
}

/// Kills every process in a network namespace, which is named by its inode.
pub fn end_inside(network: u64) {
    let is_inside =
        |pid: &u32| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|namespace| namespace.ino() == network);
    end_all(|| processes().filter(is_inside).collect());
}

fn end_all(left: impl Fn() -> Vec<u32>) {
    for _ in 0..ROUNDS {
        let left = left();
        if left.is_empty() {
            return;
        }
        for pid in left {
            if let Ok(pid) = i32::try_from(pid) {
                // It may be gone.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    // The environment of a zombie reads as empty.
    processes()
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(wanted.as_bytes()))
        })
        .collect()
}

/// Returns all processes but this one.
fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| *pid != std::process::id())
}

/// A folder that goes with its handle.
#[derive(Debug)]
pub struct Scratch(PathBuf);

static FOLDERS: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    /// Makes an empty folder.
    ///
    /// # Errors
    ///
    /// When there is no room for one.
    pub fn new() -> Result<Self> {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("netd-redteam-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Temporary anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}
