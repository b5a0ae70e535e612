//! Looks whether this host has what netd takes, and how a running daemon is. Nothing is changed, no privilege is needed:
//! what cannot be seen is said.

mod daemon;
mod host;
mod offloads;

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    Ok,
    /// netd goes on with less.
    Warn,
    /// netd cannot work, or does not.
    Fail,
}

impl Grade {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub what: &'static str,
    pub grade: Grade,
    pub found: String,
    /// What to do, where something is to be done.
    pub advice: Option<String>,
}

impl Check {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, grade: Grade::Ok, found: found.into(), advice: None }
    }

    fn warn(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what, grade: Grade::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what, grade: Grade::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

/// What the daemon answered: its status, or why there is none.
pub type Answer = Result<Value, String>;

/// Looks at everything. `status` is what the daemon says of itself.
#[must_use]
pub fn examine(state_dir: &Path, status: &Answer) -> Vec<Check> {
    let mut checks = host::checks(state_dir, status.is_ok());
    checks.extend(daemon::checks(status));
    checks
}

/// Returns the worst grade.
#[must_use]
pub fn worst(checks: &[Check]) -> Grade {
    checks.iter().map(|check| check.grade).max().unwrap_or(Grade::Ok)
}
