//! Tells the service manager that netd is ready, when it reads its policies again, and goes on telling that it is alive
//! while it is.
//!
//! The unit is of type `notify`: a manager of any age understands what is said here, and a newer one knows from
//! `RELOADING=1` how long a reload takes.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use std::{io, sync::Arc};

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::store::policies::Reload;
use crate::store::status::Sources;

/// Between two words to a service manager that asks for none: its status line is kept current.
const STATUS: Duration = Duration::from_secs(30);

/// The service manager, where there is one.
#[derive(Clone, Debug)]
pub(super) struct Manager(Option<Arc<OsString>>);

impl Manager {
    /// Returns the one that the environment names.
    pub(super) fn of_environment() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").map(Arc::new))
    }

    /// Says that a reload begins.
    pub(super) fn reloading(&self) {
        // Both in one message, or newer managers take the reload for failed.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say(&[NotifyState::Reloading, now]),
            Err(error) => debug!(%error, "the monotonic clock cannot be read"),
        }
    }

    /// Says that a reload is over, and why nothing changed where it was refused.
    pub(super) fn reloaded(&self, reload: &Reload) {
        let status = match reload.faults.first() {
            Some(fault) => format!("reload refused: {fault}").replace(['\n', '\r'], " "),
            None => "policies read again".to_owned(),
        };
        self.say(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    fn say(&self, states: &[NotifyState<'_>]) {
        let Some(name) = &self.0 else { return };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        // A manager that does not listen is no reason to end.
        if let Err(error) = send(name, text.as_bytes()) {
            debug!(%error, "the service manager was not told");
        }
    }
}

/// Sends a message; a name that begins with `@` is one without a file.
fn send(name: &OsString, message: &[u8]) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that is slow must not hold up the daemon.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &address).map(drop)
}

/// Works until `shutdown`. Alive is who has counted anew since the last word; `watchdog` is how long a silence may be.
pub(super) async fn tell(
    manager: Manager,
    watchdog: Option<Duration>,
    mut sources: Sources,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    manager.say(&[NotifyState::Ready]);
    let mut ticks = tokio::time::interval(watchdog.map_or(STATUS, |limit| limit / 3));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let is_alive = sources.has_changed().unwrap_or(false);
        let snapshot = sources.borrow_and_update().clone();
        let status = match snapshot.not_ready.first() {
            Some(reason) => format!("not ready: {reason}"),
            None => format!("watching {} interfaces", snapshot.interfaces.len()),
        };
        match is_alive {
            true => manager.say(&[NotifyState::Status(&status), NotifyState::Watchdog]),
            false => manager.say(&[NotifyState::Status(&status)]),
        }
    }
    manager.say(&[NotifyState::Stopping]);
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::status::{Interface, Snapshot, channel};

    /// Longer than any machine is busy.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A service manager that writes down what it hears.
    pub(in crate::pipeline) struct Fake {
        socket: UnixDatagram,
        _folder: tempfile::TempDir,
    }

    impl Fake {
        pub(in crate::pipeline) fn listen() -> (Self, Manager) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            (Self { socket, _folder: folder }, Manager(Some(Arc::new(path.into()))))
        }

        /// Returns the next message's lines.
        pub(in crate::pipeline) fn hear(&self) -> Vec<String> {
            let mut bytes = [0; 4_096];
            let len = self.socket.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..len]).lines().map(str::to_owned).collect()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_daemon_that_counts_is_alive_and_one_that_does_not_is_not() {
        let (fake, manager) = Fake::listen();
        let interface = Interface { name: "eth0".into(), index: 2, attached: Vec::new() };
        let watching = Snapshot { interfaces: vec![interface], ..Snapshot::default() };
        let (snapshots, sources) = channel(watching.clone());
        let shutdown = CancellationToken::new();
        let telling = tokio::spawn(tell(manager, Some(Duration::from_millis(30)), sources, shutdown.clone()));
        let hears = |wanted: &str, without: &str| {
            (0..)
                .map(|_| fake.hear())
                .find(|lines| lines.iter().any(|line| line == wanted) && !lines.iter().any(|line| line == without))
        };

        assert_eq!(fake.hear(), ["READY=1"]);
        assert!(hears("STATUS=watching 1 interfaces", "WATCHDOG=1").is_some(), "nothing was counted");
        snapshots.send_replace(Arc::new(Snapshot { not_ready: vec!["no interface".into()], ..watching }));
        assert!(hears("WATCHDOG=1", "STATUS=watching 1 interfaces").is_some());
        shutdown.cancel();
        assert!(hears("STOPPING=1", "").is_some());
        telling.await.unwrap().unwrap();
    }

    #[test]
    fn a_reload_is_told_with_its_time_and_its_end_with_what_came_of_it() {
        let (fake, manager) = Fake::listen();
        let book = crate::store::policies::Book::new(Default::default(), Default::default());

        manager.reloading();
        manager.reloaded(&book.last());

        let began = fake.hear();
        assert_eq!(began[0], "RELOADING=1");
        assert!(began[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!(fake.hear(), ["READY=1", "STATUS=policies read again"]);
    }

    #[test]
    fn without_a_manager_or_with_a_deaf_one_nothing_happens() {
        Manager(None).reloading();
        for name in ["@netd-nobody-listens-here", "/nonexistent/notify", ""] {
            Manager(Some(Arc::new(name.into()))).reloading();
        }
    }
}
