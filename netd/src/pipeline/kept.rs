//! What the state directory keeps, opened as far as it goes: without it netd goes on.

use std::path::Path;
use std::sync::Arc;

use netd_geoip::Databases;

use super::history;
use crate::kernel;
use crate::store::disk::StateDir;
use crate::store::history::Limits;
use crate::store::jobs::{self, Jobs};
use crate::store::policies::{Collection, Written};

/// Reads the policies: the operator's, which must be sound, and those of the API as far as they go together with them.
pub(super) fn policies(
    path: &Path,
    disk: Option<StateDir>,
    degraded: &mut Vec<kernel::Degraded>,
) -> anyhow::Result<(Written, Collection)> {
    let mut written = Written::open(disk);
    let (collection, left_out) = written.read(path)?;
    degraded.extend(left_out.into_iter().map(|left_out| kernel::Degraded {
        what: format!("policy {} of the API", left_out.name),
        why: left_out.why.to_string(),
        consequence: format!("it is kept and not in force; netd policy remove {} gives it up", left_out.name),
    }));
    Ok((written, collection))
}

/// Makes room for captures that are replayed; without it netd goes on.
pub(super) fn jobs(state_dir: Option<&Path>, degraded: &mut Vec<kernel::Degraded>) -> (Jobs, Option<jobs::Queue>) {
    let Some(state_dir) = state_dir else { return (Jobs::default(), None) };
    match Jobs::open(state_dir) {
        Ok((jobs, queue)) => (jobs, Some(queue)),
        Err(error) => {
            degraded.push(kernel::Degraded {
                what: "replay".to_owned(),
                why: error.to_string(),
                consequence: "POST /api/v1/replay takes no capture".to_owned(),
            });
            (Jobs::default(), None)
        }
    }
}

/// Opens history; without it netd goes on.
pub(super) fn past(
    state_dir: Option<&Path>,
    limits: Option<Limits>,
    findings: usize,
    databases: &Arc<Databases>,
    degraded: &mut Vec<kernel::Degraded>,
) -> Option<history::Start> {
    let folder = state_dir?.join("history");
    let geography = (!databases.is_empty()).then(|| Arc::clone(databases) as _);
    match history::open(&folder, limits?, findings, geography) {
        Ok(start) => Some(start),
        Err(error) => {
            degraded.push(kernel::Degraded {
                what: "history".to_owned(),
                why: error.to_string(),
                consequence: "flows and findings are forgotten at the end".to_owned(),
            });
            None
        }
    }
}
