//! Who did it, in the object `netd`.

use netd_engine::process::Process;
use serde::Serialize;

/// Who did it, as far as it is known.
#[derive(Serialize)]
pub(super) struct Who<'a> {
    pid: u32,
    comm: &'a str,
    uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container<'a>>,
}

#[derive(Serialize)]
struct Parent<'a> {
    pid: u32,
    comm: &'a str,
}

#[derive(Serialize)]
struct Container<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl<'a> Who<'a> {
    pub(super) fn of(process: &'a Process) -> Self {
        let container = process.container.as_deref();
        Self {
            pid: process.id.pid,
            comm: &process.comm,
            uid: process.uid,
            exe: process.exe.as_deref(),
            sha256: process.sha256.as_deref(),
            parent: process.parents.first().map(|parent| Parent { pid: parent.id.pid, comm: &parent.comm }),
            container: container.map(|container| Container { id: &container.id, name: container.name.as_deref() }),
        }
    }
}
