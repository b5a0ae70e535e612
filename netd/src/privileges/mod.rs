//! Gives up what root could do and netd's work does not take, before there is a second thread: each thread holds what its
//! maker held.
//!
//! Programs are attached by then. What goes on (maps, links, new interfaces) needs descriptors only, from kernel 6.1.

mod capabilities;
mod files;
mod syscalls;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::capabilities::Capability;

/// How much is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PrivilegeLevel")]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    #[default]
    Keep,
    /// All capabilities but those that looking at other processes and closing sockets take; system calls that only an
    /// attacker would make.
    Drop,
    /// Every capability, and writing outside of netd's own folders. Landlock hides the processes of others, which is why
    /// it is not part of `drop`.
    None,
}

/// What the daemon is going to do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub level: Level,
    /// Whether a policy, or the API, may have processes stopped or killed.
    pub signals: bool,
    /// Folders that are written to.
    pub writable: Vec<PathBuf>,
}

/// What the daemon may still do to the host, as the kernel says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Privileges")]
pub struct Held {
    /// How much was given up.
    pub level: Level,
    /// Capabilities that are held, with what each is for.
    pub capabilities: Vec<Capability>,
    /// Whether programs cannot gain privileges by execve.
    pub no_new_privs: bool,
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// Whether writing is restricted to folders of its own.
    pub landlock: bool,
    /// What could not be given up, and why.
    pub gaps: Vec<String>,
}

impl Held {
    /// Whether processes of others may be stopped or killed.
    #[must_use]
    pub fn may_signal(&self) -> bool {
        self.capabilities.iter().any(|capability| capability.name == "CAP_KILL")
    }
}

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot change the {what} capabilities")]
    Capabilities { what: &'static str, source: caps::errors::CapsError },
    #[error("cannot give up gaining privileges by execve")]
    NoNewPrivs { source: std::io::Error },
    #[error("cannot filter system calls")]
    Seccomp { source: seccompiler::Error },
    #[error("cannot make the filter of system calls")]
    Filter { source: seccompiler::BackendError },
    #[error("cannot restrict what is written to")]
    Landlock { source: landlock::RulesetError },
    #[error("the kernel does not do what it was asked: {0}")]
    Unproven(String),
}

/// Gives up what `plan` does not take, in this thread and all that it makes, and makes sure that it is gone.
///
/// # Errors
/// When something that can be given up was not.
pub fn confine(plan: &Plan) -> Result<Held, Error> {
    let Plan { level, signals, writable } = plan;
    let keep = match level {
        Level::Keep => return held(),
        Level::Drop => capabilities::needed(*signals),
        Level::None => Vec::new(),
    };
    rustix::thread::set_no_new_privs(true).map_err(|error| Error::NoNewPrivs { source: error.into() })?;
    let mut gaps = capabilities::reduce_to(&keep)?;
    let landlock = match level {
        Level::Keep | Level::Drop => false,
        Level::None => {
            let is_full = files::restrict(writable)?;
            if !is_full {
                gaps.push("Landlock: this kernel has none, or an older one than asked for".to_owned());
            }
            is_full
        }
    };
    syscalls::restrict()?;
    let held = Held { level: *level, landlock, gaps, ..self::held()? };
    prove(&held, &keep)?;
    Ok(held)
}

/// Reads what this thread holds.
fn held() -> Result<Held, Error> {
    Ok(Held {
        capabilities: capabilities::all_held()?,
        no_new_privs: rustix::thread::no_new_privs().unwrap_or(false),
        seccomp: syscalls::is_filtered(),
        ..Held::default()
    })
}

/// Tries what must not work any more.
fn prove(held: &Held, keep: &[Capability]) -> Result<(), Error> {
    if let Some(extra) = held.capabilities.iter().find(|capability| !keep.contains(capability)) {
        return Err(Error::Unproven(format!("{} is still held", extra.name)));
    }
    if !held.no_new_privs || !held.seccomp {
        return Err(Error::Unproven("no_new_privs and seccomp are not both set".to_owned()));
    }
    match syscalls::forbidden_that_works() {
        Some(call) => Err(Error::Unproven(format!("{call} still works"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own: what is given up does not come back.
    fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(work).join().unwrap()
    }

    #[test]
    fn without_privileges_nothing_is_executed_and_nothing_held_and_threads_inherit_that() {
        let held = on_a_thread(|| {
            let held = confine(&Plan { level: Level::None, ..Plan::default() }).unwrap();
            let of_child = on_a_thread(|| super::held().unwrap());
            assert_eq!((of_child.capabilities, of_child.seccomp), (Vec::new(), true));
            let ran = std::process::Command::new("/bin/true").status();
            assert_eq!(ran.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
            held
        });

        assert_eq!((held.capabilities, held.no_new_privs, held.seccomp), (Vec::new(), true, true));
    }

    #[test]
    fn what_is_not_writable_is_read_and_what_is_writable_is_written() {
        let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (inside, outside) = (mine.path().join("a"), other.path().join("a"));
        std::fs::write(&outside, "x").unwrap();
        let writable = vec![mine.path().to_owned()];
        let (wrote, refused, read, is_full) = {
            on_a_thread(move || {
                let held = confine(&Plan { level: Level::None, writable, ..Plan::default() }).unwrap();
                let wrote = std::fs::write(&inside, "y").is_ok();
                (wrote, std::fs::write(&outside, "y").is_err(), std::fs::read(&outside).is_ok(), held.landlock)
            })
        };
        if !is_full {
            return netd_lab::left_out!("no Landlock here");
        }

        assert!(wrote && refused && read);
    }

    #[test]
    fn dropping_keeps_what_has_a_reason_and_signals_only_where_a_policy_asks() {
        let names = |signals| capabilities::needed(signals).iter().map(|held| held.name.clone()).collect::<Vec<_>>();

        assert!(!names(false).contains(&"CAP_KILL".to_owned()) && names(true).contains(&"CAP_KILL".to_owned()));
        let held = on_a_thread(|| confine(&Plan { level: Level::Drop, ..Plan::default() }).unwrap());
        assert!(held.capabilities.iter().all(|capability| names(false).contains(&capability.name)));
    }
}
