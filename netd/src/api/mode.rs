//! `/api/v1/mode` and `/api/v1/kill-switch`: how far netd goes.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use netd_common::control::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::input::{self, Fields};
use super::problem::Problem;
use crate::verdicts::Status;

/// How far netd goes, as the configuration writes it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EnforcementMode")]
#[serde(rename_all = "lowercase")]
pub(super) enum ModeName {
    /// Verdicts are kept, and nothing is counted or cut.
    Observe,
    /// Verdicts are counted, and nothing is cut.
    Shadow,
    /// Verdicts act.
    Enforce,
}

impl ModeName {
    /// Returns the name as text.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Shadow => "shadow",
            Self::Enforce => "enforce",
        }
    }
}

impl From<Mode> for ModeName {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Observe => Self::Observe,
            Mode::Shadow => Self::Shadow,
            Mode::Enforce => Self::Enforce,
        }
    }
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Observe => Self::Observe,
            ModeName::Shadow => Self::Shadow,
            ModeName::Enforce => Self::Enforce,
        }
    }
}

/// How far netd is to go.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ModeWanted")]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    mode: ModeName,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] = &["mode"];
}

/// Whether everything is to pass.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "KillSwitchWanted")]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchWanted {
    /// On: nothing is cut, whatever the mode.
    on: bool,
}

impl Fields for SwitchWanted {
    const FIELDS: &'static [&'static str] = &["on"];
}

/// How far netd goes.
#[derive(Serialize, JsonSchema)]
pub(super) struct Modes {
    /// What an operator asked for.
    requested: ModeName,
    /// What the programs do: `observe` while the kill switch is on.
    effective: ModeName,
    /// Why they differ; null where they do not.
    reason: Option<String>,
}

impl From<&Status> for Modes {
    fn from(status: &Status) -> Self {
        Self { requested: status.requested.into(), effective: status.effective.into(), reason: status.reason() }
    }
}

/// How far netd goes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ModeSet")]
pub(super) struct View {
    mode: Modes,
    /// Whether everything passes.
    kill_switch: bool,
}

/// Whether everything passes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KillSwitch")]
pub(super) struct SwitchView {
    /// On: nothing is cut, whatever the mode.
    on: bool,
    mode: Modes,
    /// Whether it is on disk, so that it outlives a restart.
    saved: bool,
}

impl From<&Status> for SwitchView {
    fn from(status: &Status) -> Self {
        Self { on: status.kill_switch, mode: status.into(), saved: status.unsaved.is_none() }
    }
}

pub(super) async fn get_kill_switch(State(context): State<Context>) -> Result<Response, Problem> {
    Ok(Json(SwitchView::from(&context.verdicts.status().await?)).into_response())
}

pub(super) async fn put_kill_switch(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let SwitchWanted { on } = input::json(&headers, body).await?;
    Ok(Json(SwitchView::from(&context.verdicts.set_kill_switch(on).await?)).into_response())
}

pub(super) async fn put(State(context): State<Context>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let Wanted { mode } = input::json(&headers, body).await?;
    let status = context.verdicts.set_mode(mode.into()).await?;
    Ok(Json(View { mode: Modes::from(&status), kill_switch: status.kill_switch }).into_response())
}
