//! What is known of a process: who it is, what it runs, where it lives.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A process for good: its number is given to others later, its number with its start is not, within one boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ProcessId {
    /// Thread group id, in the initial pid namespace.
    pub pid: u32,
    /// Start of the process after boot (`CLOCK_BOOTTIME`) in hundredths of a second, as `/proc` tells it: the
    /// kernel's nanoseconds round down to it. 0 where it is not known.
    pub start_ticks: u64,
}

impl ProcessId {
    /// Nanoseconds in a tick of [`Self::start_ticks`].
    pub const TICK_NS: u64 = 10_000_000;

    /// Returns the process of a number and the kernel's own time of its start.
    #[must_use]
    pub const fn new(pid: u32, start_ns: u64) -> Self {
        Self { pid, start_ticks: start_ns / Self::TICK_NS }
    }
}

/// A process: at a conversation's end, or somewhere in a graph of standard streams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Process {
    #[serde(flatten)]
    pub id: ProcessId,
    /// User id.
    pub uid: u32,
    /// The user's name, where the host knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The thread group leader's name, 15 bytes at most.
    pub comm: String,
    /// Path as in the process's own mount namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// SHA-256 of the executable's bytes, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Arc<str>>,
    /// The package that owns the executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Arc<str>>,
    /// Arguments, the program's name first; long ones are cut.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Current directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Parent first, then its parent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Ancestor>,
    /// Inode of the cgroup, 0 where not known.
    pub cgroup_id: u64,
    /// Path in the cgroup tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Arc<str>>,
    /// Where the process runs in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<Container>>,
    /// systemd's unit, where the process belongs to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Arc<str>>,
    /// Inode of the network namespace, 0 where not known.
    pub netns: u64,
    /// Why something above is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
}

/// A process above another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ancestor {
    #[serde(flatten)]
    pub id: ProcessId,
    /// The thread group leader's name, 15 bytes at most.
    pub comm: String,
    /// Path as in its own mount namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
}

/// Why details of a process are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// It had ended before `/proc` was asked.
    Gone,
    /// Its number had been given to another.
    Reused,
    /// `/proc` did not let us look.
    Denied,
    /// The queue of processes to look at was full.
    Overload,
}

/// A container, by its cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Container {
    /// As the runtime gives it, whole.
    pub id: String,
    /// Who runs it.
    pub runtime: Runtime,
    /// Where the runtime tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As the runtime names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where Kubernetes runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

/// A Kubernetes pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Pod {
    /// As Kubernetes gives it.
    pub uid: String,
    /// Where the runtime tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The Kubernetes namespace, where the runtime tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Who runs a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ContainerRuntime")]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    Docker,
    Containerd,
    CriO,
    Podman,
    #[default]
    Unknown,
}

/// What the shell found out about a process's executable. The default says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Its file is gone.
    pub is_deleted: bool,
    /// It never had one (memfd).
    pub is_memory: bool,
    /// It lies in a directory anybody may write to.
    pub is_temporary: bool,
    /// An interpreter that runs no script file.
    pub is_bare_interpreter: bool,
    /// Whether a package owns it, where that is known.
    pub is_packaged: Option<bool>,
}
