//! The real daemon in a laboratory: started, stopped, killed and started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::api::Api;
use crate::binary;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::Process;

/// How long the daemon may take to do its work, however much it has to enforce, and to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the daemon under test is told.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'s> {
    /// `observe`, `shadow` or `enforce`.
    pub mode: &'s str,
    /// The text of a policy; `None` is the one netd ships.
    pub policy: Option<&'s str>,
    /// Indicators of a list of threat intelligence, one a line; empty: there is none.
    pub intel: &'s str,
    /// The cgroup tree is the machine's: every process on it meets netd's programs.
    pub cgroup: bool,
    pub protect: &'s [&'s str],
    pub flows_per_cpu: u32,
    /// Most hosts, and most prefixes, that lists may hold.
    pub listed: u32,
    /// Where the API listens besides its unix socket.
    pub listen: &'s [&'s str],
    /// Further keys, above every table: `privileges = "none"`.
    pub keys: &'s str,
    /// Further keys of `[api]`, and tables below it.
    pub api: &'s str,
    /// Further tables of the configuration; `{folder}` is the daemon's own.
    pub tables: &'s str,
    /// Where state is kept, if not in the daemon's own folder.
    pub state_dir: Option<&'s Path>,
}

impl Default for Setup<'_> {
    /// Enforces what it is asked to, and keeps out of the cgroup tree.
    fn default() -> Self {
        Self {
            mode: "enforce",
            policy: None,
            intel: "",
            cgroup: false,
            protect: &[],
            flows_per_cpu: 16_384,
            listed: 4_096,
            listen: &[],
            keys: "",
            api: "",
            tables: "",
            state_dir: None,
        }
    }
}

/// `netd run` in the watched namespace of a laboratory, with files of its own. Dropping it kills it and removes them.
///
/// It ends with the thread that started it.
#[derive(Debug)]
pub struct Daemon {
    process: Option<Process>,
    folder: Folder,
    namespace: Namespace,
}

impl Daemon {
    /// Starts the daemon and waits until it does its work.
    ///
    /// # Errors
    ///
    /// When it cannot be started or ends; the message holds its log.
    pub fn start(lab: &Lab, setup: Setup<'_>) -> Result<Self> {
        let folder = Folder::new()?;
        folder.write("netd.toml", &folder.config(setup))?;
        folder.write("policy.yaml", setup.policy.unwrap_or_default())?;
        folder.write("intel.txt", setup.intel)?;
        let mut daemon = Self { process: None, folder, namespace: lab.watched().clone() };
        daemon.again(&[])?;
        Ok(daemon)
    }

    /// Starts it anew, with further arguments, where it was killed or terminated.
    ///
    /// # Errors
    ///
    /// As [`Daemon::start`].
    pub fn again(&mut self, arguments: &[&str]) -> Result<()> {
        let mut process = self.begin(arguments)?;
        let deadline = Instant::now() + PATIENCE;
        while self.api().get("/readyz").is_err() {
            if let Some(status) = process.child().try_wait()? {
                bail!("the daemon ended with {status}:\n{}", self.log());
            }
            if Instant::now() >= deadline {
                bail!("the daemon is not ready after {PATIENCE:?}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(process);
        Ok(())
    }

    /// Starts it and kills it when `wait` returns, wherever it is by then.
    ///
    /// # Errors
    ///
    /// When it cannot be started, ends by itself before, or `wait` fails.
    pub fn cut_short(&mut self, arguments: &[&str], wait: impl FnOnce() -> Result<()>) -> Result<()> {
        let process = self.begin(arguments)?;
        wait()?;
        process.kill().with_context(|| self.log())
    }

    fn begin(&self, arguments: &[&str]) -> Result<Process> {
        let log = fs::File::create(self.folder.0.join("log")).context("cannot create the daemon's log")?;
        let mut command = Command::new(binary::netd()?);
        command.arg("run").arg("--config").arg(self.folder.0.join("netd.toml")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Process::start(&self.namespace, &mut command)
    }

    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(&self.socket())
    }

    /// Runs `netd` with `arguments` beside the daemon, told where its API is.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn netd(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary::netd()?);
        command.args(arguments).env("NETD_SERVER", format!("unix:{}", self.socket().display())).stdin(Stdio::null());
        self.namespace.command(&mut command)?.output().context("cannot start netd")
    }

    /// Returns the number of its process.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the daemon does not run")?.id())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    ///
    /// When it had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.take()?.kill().with_context(|| self.log())
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.take()?.terminate(PATIENCE)
    }

    /// Sends `signal`.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("the daemon does not run")?.signal(signal)
    }

    /// Returns what this run of the daemon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }

    /// Returns a path in the daemon's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    fn socket(&self) -> PathBuf {
        self.folder.0.join("api.sock")
    }

    fn take(&mut self) -> Result<Process> {
        self.process.take().context("the daemon does not run")
    }
}

/// A folder that goes with its handle.
#[derive(Debug)]
struct Folder(PathBuf);

static FOLDERS: AtomicU32 = AtomicU32::new(0);

impl Folder {
    fn new() -> Result<Self> {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("netd-lab-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn config(&self, setup: Setup<'_>) -> String {
        let Setup { mode, policy, intel, cgroup, protect, flows_per_cpu, listed, listen, keys, api, tables, state_dir } =
            setup;
        let policy = policy.map_or(PathBuf::new(), |_| self.0.join("policy.yaml"));
        let state = state_dir.map_or_else(|| self.0.join("state"), Path::to_owned);
        let socket = format!("unix:{}", self.0.join("api.sock").display());
        let listen: Vec<&str> = std::iter::once(socket.as_str()).chain(listen.iter().copied()).collect();
        let intel = match intel.is_empty() {
            true => String::new(),
            false => format!("[[intel]]\nname = \"lab\"\nfile = {:?}\n", self.0.join("intel.txt")),
        };
        let tables = tables.replace("{folder}", &self.0.display().to_string());
        // Tables of a size for tests: the default ones take memory and time to build.
        format!(
            "mode = {mode:?}\nstate_dir = {state:?}\npolicy = {policy:?}\ncgroup = {cgroup}\nprotect = {protect:?}\n\
             {keys}\n[api]\nlisten = {listen:?}\n{api}\n[log]\nlevel = \"info\"\n\
             [limits]\nflows_per_cpu = {flows_per_cpu}\nlisted_hosts = {listed}\nlisted_prefixes = {listed}\n{tables}\n{intel}"
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Temporary anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}
