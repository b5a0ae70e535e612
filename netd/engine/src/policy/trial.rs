//! What a policy promises of captures.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::detect::Detector;

/// A capture, and what the policy must make of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Beside the policy's file, unless it is absolute.
    pub capture: PathBuf,
    /// Monitored networks. None: the private, unique-local and link-local ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub local: Vec<IpNet>,
    pub expect: Expectation,
}

/// What must come of a capture; what is not given may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expectation {
    /// Findings by detector; detectors that are not named must find nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<BTreeMap<Detector, u64>>,
    /// Findings below `alert_from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<u64>,
    /// Verdicts asked for, those of a shadow too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u64>,
    /// Responses asked for, those of a shadow too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responses: Option<u64>,
}
