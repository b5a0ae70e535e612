//! What runtimes call their containers, asked on a thread of its own: a runtime that hangs holds up nobody.
//!
//! A process's container is known by its cgroup already; a name, an image and a pod's name come later or never.

mod cri;
mod docker;
mod http;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use netd_engine::process::{Container, Pod, Runtime};
use tokio::sync::mpsc;

/// Containers waiting to be asked for.
const QUEUE: usize = 1_024;
/// For all sockets together; a runtime under load answers within some hundred milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest name kept, in bytes.
const MAX_NAME: usize = 256;

/// The sockets of the container runtimes. Those that are not there are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Of Docker's API: Docker and Podman.
    pub docker: Vec<PathBuf>,
    /// Of the Container Runtime Interface: containerd and CRI-O.
    pub cri: Vec<PathBuf>,
}

impl Default for Sockets {
    /// Returns those of the system's runtimes; a user's own could answer whatever the user likes.
    fn default() -> Self {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        Self {
            docker: paths(&["/run/docker.sock", "/run/podman/podman.sock"]),
            cri: paths(&[
                "/run/containerd/containerd.sock",
                "/run/k3s/containerd/containerd.sock",
                "/run/crio/crio.sock",
            ]),
        }
    }
}

/// What a runtime said of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub name: Option<String>,
    pub image: Option<String>,
    pub pod: Option<Pod>,
}

impl Named {
    /// Returns `container` with what the runtime said of it.
    #[must_use]
    pub fn applied(self, container: &Container) -> Container {
        Container {
            name: self.name.or_else(|| container.name.clone()),
            image: self.image.or_else(|| container.image.clone()),
            pod: self.pod.or_else(|| container.pod.clone()),
            ..container.clone()
        }
    }
}

/// Why a runtime did not tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to the runtime's socket")]
    Connect { source: io::Error },
    #[error("the runtime's socket does not speak HTTP as it should")]
    Http(#[from] hyper::Error),
    #[error("the runtime refused with status {status}")]
    Status { status: u32 },
    #[error("the runtime's answer is too long or cannot be read")]
    Body,
    #[error("the request cannot be written")]
    Request,
    #[error("the runtime did not answer in time")]
    Late,
}

/// How the asking went, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub named: AtomicU64,
    /// No runtime knew the container.
    pub unknown: AtomicU64,
    /// A runtime could not be asked, or answered nonsense.
    pub failed: AtomicU64,
    /// The queue was full, or nobody took the answers.
    pub dropped: AtomicU64,
}

/// The thread that asks.
#[derive(Debug)]
pub struct Names {
    questions: mpsc::Sender<(String, Runtime)>,
    answers: Receiver<(String, Named)>,
    pub counts: Arc<Counts>,
}

impl Names {
    /// Starts the thread. It ends when this is dropped.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(sockets: Sockets) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (questions, mut asked) = mpsc::channel::<(String, Runtime)>(QUEUE);
        let (answered, answers) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        thread::Builder::new().name("netd-names".into()).spawn(move || {
            runtime.block_on(async {
                while let Some((id, runtime)) = asked.recv().await {
                    one(&sockets, id, runtime, &answered, &shared).await;
                }
            });
        })?;
        Ok(Self { questions, answers, counts })
    }

    /// Asks for a container's name; the answer comes from [`Self::answers`]. Containers known by their name alone are
    /// not asked for. Never waits.
    pub fn ask(&self, container: &Container) {
        let is_id = container.id.len() == 64 && container.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id && self.questions.try_send((container.id.clone(), container.runtime)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns what has been answered since the last call: the container's id and its names.
    pub fn answers(&self) -> impl Iterator<Item = (String, Named)> + '_ {
        self.answers.try_iter()
    }
}

async fn one(sockets: &Sockets, id: String, runtime: Runtime, to: &SyncSender<(String, Named)>, counts: &Counts) {
    let answer = tokio::time::timeout(PATIENCE, inspect(sockets, &id, runtime)).await;
    let count = match answer.unwrap_or(Err(Error::Late)) {
        Ok(Some(named)) => {
            if to.try_send((id, named)).is_ok() {
                &counts.named
            } else {
                &counts.dropped
            }
        }
        Ok(None) => &counts.unknown,
        Err(error) => {
            tracing::debug!(%error, "a container runtime did not tell a container's name");
            &counts.failed
        }
    };
    count.fetch_add(1, Ordering::Relaxed);
}

/// Asks the sockets that may know the container, in turn, until one does.
async fn inspect(sockets: &Sockets, id: &str, runtime: Runtime) -> Result<Option<Named>, Error> {
    let (docker, cri) = match runtime {
        Runtime::Docker | Runtime::Podman => (true, false),
        Runtime::Containerd | Runtime::CriO => (false, true),
        Runtime::Unknown => (true, true),
    };
    let mut failure = None;
    for socket in sockets.docker.iter().filter(|socket| docker && socket.exists()) {
        match docker::inspect(socket, id).await {
            Ok(None) => {}
            Ok(Some(named)) => return Ok(Some(named)),
            Err(error) => failure = Some(error),
        }
    }
    for socket in sockets.cri.iter().filter(|socket| cri && socket.exists()) {
        match cri::inspect(socket, id).await {
            Ok(None) => {}
            Ok(Some(named)) => return Ok(Some(named)),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// Returns a runtime's text without control characters and not too long; `None` when nothing remains.
fn cut(text: &str) -> Option<String> {
    let mut kept = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if kept.len() + character.len_utf8() > MAX_NAME {
            break;
        }
        kept.push(character);
    }
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests;
