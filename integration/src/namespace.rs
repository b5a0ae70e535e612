//! Network namespaces that cannot leak.
//!
//! A namespace made with `ip netns add` is a file in `/run/netns` and outlives whoever made it. These have no name: only
//! descriptors of this process hold them, so the kernel takes them down with the process, whatever ends it.
//!
//! Each comes with a mount namespace of its own, which has its own bpffs at `/sys/fs/bpf`: programs that something pins
//! there vanish in the same way, and two laboratories never see each other's pins. The rest of the file system is shared;
//! `/sys/class/net` is that of the machine, so whoever asks about interfaces in here asks netlink.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, with the mount namespace that goes with it. Clones are the same namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: &'static str,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    network: OwnedFd,
    mounts: OwnedFd,
}

impl Namespace {
    /// Makes an empty namespace in which only loopback is up. `name` is for messages and thread names.
    ///
    /// # Errors
    ///
    /// When the caller is not root, or the kernel has no network namespaces.
    pub fn new(name: &'static str) -> Result<Self> {
        let held = on_a_thread(name, make)
            .with_context(|| format!("cannot make the network namespace \"{name}\" (this needs root)"))?;
        let namespace = Self { name, held: Arc::new(held) };
        namespace.ip(&["link set dev lo up"])?;
        Ok(namespace)
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs `work` on a thread of its own inside the namespace and returns what it returned. A panic in `work` goes on
    /// in the caller, so that an assertion inside fails the test outside.
    ///
    /// # Errors
    ///
    /// Those of `work`, and when the namespace cannot be entered.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
        on_a_thread(self.name, || {
            self.enter()?;
            work()
        })
    }

    /// Starts a thread inside the namespace.
    ///
    /// # Errors
    ///
    /// When no thread can be started; what goes wrong in it is the thread's result.
    pub fn spawn<R: Send + 'static>(
        &self,
        thread_name: &str,
        work: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Result<thread::JoinHandle<Result<R>>> {
        let namespace = self.clone();
        thread::Builder::new()
            .name(thread_name.to_owned())
            .spawn(move || {
                namespace.enter()?;
                work()
            })
            .with_context(|| format!("cannot start the thread {thread_name}"))
    }

    /// Makes `command` start inside the namespace, in the directory it would have started in.
    ///
    /// # Errors
    ///
    /// When the current directory cannot be told.
    pub fn command<'c>(&self, command: &'c mut Command) -> Result<&'c mut Command> {
        let directory = match command.get_current_dir() {
            Some(directory) => directory.to_owned(),
            None => std::env::current_dir().context("cannot tell the current directory")?,
        };
        let directory = CString::new(directory.as_os_str().as_bytes()).context("the directory's name holds a zero")?;
        let held = Arc::clone(&self.held);
        // SAFETY: between fork and exec the closure makes system calls only; it neither allocates nor takes a lock. The
        // string it passes is alive and ends with a zero.
        unsafe {
            command.pre_exec(move || {
                join(held.network.as_raw_fd(), libc::CLONE_NEWNET)?;
                join(held.mounts.as_raw_fd(), libc::CLONE_NEWNS)?;
                // Joining a mount namespace moves the caller to its root.
                if libc::chdir(directory.as_ptr()) != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        Ok(command)
    }

    /// Carries out lines of iproute2, all in one process: the first that fails ends it.
    ///
    /// # Errors
    ///
    /// When there is no `ip`, or it refuses a line; the message holds what it said.
    pub fn ip<S: AsRef<str>>(&self, lines: &[S]) -> Result<()> {
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match self.command(&mut command)?.spawn() {
            Ok(child) => child,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                bail!("there is no `ip` command: install iproute2 (apt install iproute2)")
            }
            Err(e) => return Err(e).context("cannot start `ip`"),
        };
        if let Some(mut stdin) = child.stdin.take() {
            // When `ip` has already given up, its own message is the better one.
            let _ = stdin.write_all((lines.join("\n") + "\n").as_bytes());
        }
        let output = child.wait_with_output().context("cannot wait for `ip`")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`ip` refused in namespace \"{}\": {}\nthe lines:\n{}", self.name, said.trim(), lines.join("\n"));
        }
        Ok(())
    }

    /// Gives an interface a queue: from Linux 6.16 on, whoever sends over a veth pair then waits for a far end that is slow.
    /// Without a queue what finds no room there is dropped.
    ///
    /// # Errors
    ///
    /// When there is no `tc`, or it refuses.
    pub fn queue(&self, interface: &str) -> Result<()> {
        let mut command = Command::new("tc");
        command.args(["qdisc", "replace", "dev", interface, "root", "pfifo", "limit", "10000"]);
        let output = self.command(&mut command)?.output().context("cannot start `tc`: install iproute2")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`tc` refused a queue for {interface} in namespace \"{}\": {}", self.name, said.trim());
        }
        Ok(())
    }

    /// Sets a sysctl below `/proc/sys/net`, as in `("ipv4/ip_forward", "1")`.
    ///
    /// # Errors
    ///
    /// When the kernel has no such sysctl or refuses the value.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.sysctls(&[(name, value)])
    }

    /// Sets several sysctls below `/proc/sys/net`.
    ///
    /// # Errors
    ///
    /// As [`Namespace::sysctl`]; those before the one that failed are set.
    pub fn sysctls(&self, values: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (name, value) in values {
                let path = Path::new("/proc/sys/net").join(name);
                std::fs::write(&path, value)
                    .with_context(|| format!("cannot set {} to {value} in \"{}\"", path.display(), self.name))?;
            }
            Ok(())
        })
    }

    /// Returns a path under which another process can name this network namespace while this process lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.held.network.as_raw_fd()))
    }

    /// Moves the calling thread, which must be one of its own, into the namespace.
    fn enter(&self) -> Result<()> {
        let directory = std::env::current_dir().context("cannot tell the current directory")?;
        let entering = || format!("cannot enter the namespace \"{}\"", self.name);
        // A thread can only join a mount namespace once it no longer shares its directory with the others.
        unshare(CloneFlags::CLONE_FS).with_context(entering)?;
        setns(&self.held.network, CloneFlags::CLONE_NEWNET).with_context(entering)?;
        setns(&self.held.mounts, CloneFlags::CLONE_NEWNS).with_context(entering)?;
        std::env::set_current_dir(&directory).with_context(entering)
    }
}

/// One end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub struct End<'n> {
    pub namespace: &'n Namespace,
    /// The interface's name in its namespace.
    pub interface: &'n str,
    /// Fixed, so that a laboratory is the same every time.
    pub mac: [u8; 6],
}

/// Joins two namespaces by a veth pair, both ends up.
///
/// # Errors
///
/// When `ip` is missing or refuses.
pub fn veth(one: End<'_>, other: End<'_>) -> Result<()> {
    one.namespace.ip(&[
        format!(
            "link add {} address {} type veth peer name {} address {} netns {}",
            one.interface,
            mac_text(one.mac),
            other.interface,
            mac_text(other.mac),
            other.namespace.path().display()
        ),
        format!("link set dev {} up", one.interface),
    ])?;
    other.namespace.ip(&[format!("link set dev {} up", other.interface)])
}

impl End<'_> {
    /// Gives the interface an address; one of IPv6 is usable at once.
    #[must_use]
    pub fn address(&self, address: IpAddr, prefix: u8) -> String {
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        format!("address add {address}/{prefix} dev {}{nodad}", self.interface)
    }

    /// Names a neighbour for good, so that no lost packet can make ARP or neighbour discovery fail.
    #[must_use]
    pub fn neighbour(&self, address: IpAddr, mac: [u8; 6]) -> String {
        format!("neighbour add {address} lladdr {} dev {} nud permanent", mac_text(mac), self.interface)
    }

    /// Routes `network` through `via`.
    #[must_use]
    pub fn route(&self, network: &str, via: IpAddr) -> String {
        format!("route add {network} via {via} dev {}", self.interface)
    }
}

/// Returns whether this process may make namespaces.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn make() -> Result<Held> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    // Mounts of the machine still arrive here, mounts made here stay here.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .context("cannot keep mounts to itself")?;
    mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .context("cannot mount a bpffs of its own at /sys/fs/bpf")?;
    Ok(Held {
        network: File::open("/proc/thread-self/ns/net").context("cannot open the network namespace")?.into(),
        mounts: File::open("/proc/thread-self/ns/mnt").context("cannot open the mount namespace")?.into(),
    })
}

fn on_a_thread<R: Send>(name: &str, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn join(namespace: RawFd, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: `setns` takes no pointer; a wrong descriptor is an error.
    if unsafe { libc::setns(namespace, kind) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
