//! Every method of every path.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use super::parameter::Kind::{Address, Bool, Limit, Moment, Number, OneOf, Prefix, Score, Text};
use super::parameter::{Parameter, parameter};
use super::schemas::Described;
use crate::api::input::Fields;
use crate::api::page::Page;
use crate::api::stream::{self, Line};
use crate::api::{
    actions, allowlists, blocklists, confirmations, decisions, entities, entries, evidence, explain, feeds, findings,
    flows, health, hunts, jobs, mode, policies, session, sinks, stats, status, suppressions, tokens, verdicts,
};
use crate::store::audit::Record;
use crate::store::history::Flow;
use crate::store::policies::Reload;

/// One method of one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What generated clients call it.
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: &'static [Parameter],
    pub(super) body: Body,
    pub(super) answer: Answer,
    /// Statuses of answers that are part of the work, those of problems among them.
    pub(super) status: &'static [u16],
    /// Whether it asks nobody who they are.
    pub(super) is_open: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    None,
    Json(Described),
    Text,
    /// A policy, or several.
    Policy {
        is_needed: bool,
    },
    /// A pcap or pcapng file.
    Capture,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Json(Described),
    /// Events, one a line.
    Stream(Described),
    /// By media type.
    Bytes(&'static str),
    Nothing,
}

/// A body that is read as a `T`.
const fn body<T: Fields + JsonSchema>() -> Body {
    Body::Json(SchemaGenerator::subschema_for::<T>)
}

/// An answer that is written from a `T`.
const fn json<T: JsonSchema>() -> Answer {
    Answer::Json(SchemaGenerator::subschema_for::<T>)
}

/// A page of such items.
const fn page<T: JsonSchema>() -> Answer {
    json::<Page<T>>()
}

/// Events about such things.
const fn stream<T: JsonSchema>() -> Answer {
    Answer::Stream(SchemaGenerator::subschema_for::<Line<T>>)
}

/// What the document is ordered by.
pub(super) const TAGS: [(&str, &str); 8] = [
    ("findings", "What the detectors found, and why"),
    ("flows", "Conversations, alive and ended"),
    ("enforcement", "Verdicts, block-lists, the mode, the kill switch"),
    ("decisions", "The same for CrowdSec's bouncers"),
    ("entities", "One page about one thing"),
    ("hunts", "What the engine follows at this moment, findings or not"),
    ("operation", "The daemon itself"),
    ("access", "Who may ask, and who did"),
];

const LIMIT: Parameter = parameter("limit", Limit, "Items of a page");
const CURSOR: Parameter = parameter("cursor", Text, "`next_cursor` of the page before");
const Q: Parameter =
    parameter("q", Text, "The query language: `dst:198.51.100.0/24 port:4444 -country:NL score:>=0.8`");
const MIN_SCORE: Parameter = parameter("min_score", Score, "This score or a higher one");
const FORCE: Parameter = parameter("force", Bool, "Accepts prefixes wider than /8 (IPv4) or /19 (IPv6)");
const DRY_RUN: Parameter = parameter("dry_run", Bool, "Counts what would change, and changes nothing");
const CONFIRM: Parameter = parameter("confirm", Text, "Undoes the change unless it is confirmed in this time");
const LAST: Parameter = parameter("last", Number(1_000), "So many of the newest events come first");

const ASKED: Operation = Operation {
    method: "GET",
    path: "",
    id: "",
    tag: "operation",
    summary: "",
    query: &[],
    body: Body::None,
    answer: json::<Map<String, Value>>(),
    status: &[200],
    is_open: false,
};

const fn get(path: &'static str, id: &'static str, tag: &'static str, summary: &'static str) -> Operation {
    Operation { path, id, tag, summary, ..ASKED }
}

impl Operation {
    const fn with(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    const fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    const fn body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    const fn answer(self, answer: Answer) -> Self {
        Self { answer, ..self }
    }

    const fn status(self, status: &'static [u16]) -> Self {
        Self { status, ..self }
    }

    const fn open(self) -> Self {
        Self { is_open: true, ..self }
    }
}

/// Returns every operation, in the order of the document.
pub(super) fn all() -> impl Iterator<Item = &'static Operation> {
    [FINDINGS, FLOWS, ENFORCEMENT, DECISIONS, ENTITIES, HUNTS, OPERATION, ACCESS].into_iter().flatten()
}

const SUPPRESSED: Parameter =
    parameter("suppressed", OneOf(&["hide", "only", "show"]), "Those that a suppression covers");
const SEVERITY: Parameter =
    parameter("severity", OneOf(&["info", "low", "medium", "high", "critical"]), "This severity or a higher one");

macro_rules! finding_filters {
    ($($more:expr),*) => {
        &[
            Q,
            parameter("detector", Text, "The detector's name"),
            SEVERITY,
            parameter("status", Text, "What people made of it"),
            parameter("ip", Address, "Either end"),
            MIN_SCORE,
            parameter("since", Moment, "Raised since"),
            parameter("until", Moment, "Begun by then"),
            SUPPRESSED,
            $($more),*
        ]
    };
}

const FINDINGS: &[Operation] = &[
    get("/api/v1/findings", "list_findings", "findings", "Findings, newest first")
        .query(finding_filters!(LIMIT, CURSOR))
        .answer(page::<findings::View>()),
    get("/api/v1/findings/stream", "stream_findings", "findings", "Findings as they are reported or rise")
        .query(finding_filters!(LAST))
        .answer(stream::<findings::View>()),
    get("/api/v1/findings/export", "export_findings", "findings", "The newest findings as other tools take them in")
        .query(&[
            parameter("format", OneOf(&["stix", "sigma", "csv", "md"]), "STIX 2.1, Sigma rules, RFC 4180, Markdown")
                .needed(),
            Q,
            SUPPRESSED,
            parameter("limit", Number(10_000), "The newest so many, from 1; 1,000 when it is not there"),
        ])
        .answer(Answer::Bytes("*/*")),
    get("/api/v1/findings/{id}", "get_finding", "findings", "One finding").answer(json::<findings::View>()),
    get("/api/v1/findings/{id}", "triage_finding", "findings", "Says what people made of it; If-Match names its ETag")
        .with("PATCH")
        .body(body::<findings::Change>())
        .answer(json::<findings::View>()),
    get("/api/v1/findings/{id}/evidence.json", "get_evidence", "findings", "A finding with flows and enforcement")
        .answer(json::<evidence::View>()),
    get("/api/v1/findings/{id}/evidence.pcapng", "get_evidence_capture", "findings", "Its first payload as a capture")
        .answer(Answer::Bytes("application/x-pcapng")),
    get("/api/v1/findings/{id}/stix", "get_finding_as_stix", "findings", "A finding as a STIX 2.1 bundle")
        .answer(Answer::Bytes("application/stix+json;version=2.1")),
    get("/api/v1/findings/{id}/sigma", "get_finding_as_sigma", "findings", "A finding as a Sigma rule")
        .answer(Answer::Bytes("application/yaml")),
    get("/api/v1/findings/{id}/actions", "act_on_finding", "findings", "Blocks the far side, or hides others like it")
        .with("POST")
        .body(body::<actions::Wanted>())
        .answer(json::<actions::Done>())
        .status(&[200, 201]),
    get("/api/v1/explain", "explain", "findings", "Why there is, or is not, a finding, and what is enforced")
        .query(&[
            parameter("ip", Address, "Either end"),
            parameter("name", Text, "The name or one below it; `domain` means the same"),
            parameter("pid", Number(u32::MAX as u64), "A process of this host"),
            parameter("flow", Number(i64::MAX as u64), "A flow by its id"),
        ])
        .answer(json::<explain::View>()),
    get("/api/v1/suppressions", "list_suppressions", "findings", "Findings that nobody wants to see again")
        .answer(page::<suppressions::View>()),
    get("/api/v1/suppressions", "add_suppression", "findings", "Hides findings, those of the past too")
        .with("POST")
        .body(body::<suppressions::Wanted>())
        .answer(json::<suppressions::Added>())
        .status(&[201]),
    get("/api/v1/suppressions/{id}", "remove_suppression", "findings", "Shows them again")
        .with("DELETE")
        .answer(json::<suppressions::View>()),
];

macro_rules! flow_filters {
    ($($more:expr),*) => {
        &[
            Q,
            parameter("ip", Address, "Either end"),
            parameter("src", Address, "The originator"),
            parameter("dst", Address, "The responder"),
            parameter("cidr", Prefix, "A prefix that holds either end"),
            parameter("port", Text, "Either port"),
            parameter("proto", Text, "A protocol's name or number"),
            parameter("pid", Text, "The process's number"),
            parameter("exe", Text, "The process's program"),
            parameter("comm", Text, "The process's name"),
            parameter("user", Text, "The process's user"),
            parameter("container", Text, "The process's container"),
            parameter("ns", Text, "The namespace of its pod"),
            parameter("pod", Text, "Its pod"),
            parameter("country", Text, "The responder's country"),
            parameter("asn", Text, "The responder's autonomous system"),
            parameter("name", Text, "The name asked for, or the end of it"),
            parameter("service", Text, "The service"),
            parameter("verdict", Text, "`block`, `alert`, `allow`"),
            parameter("community_id", Text, "Community ID"),
            MIN_SCORE,
            parameter("since", Moment, "Not over before"),
            parameter("until", Moment, "Begun by then"),
            $($more),*
        ]
    };
}

const FIELDS: Parameter = parameter("fields", Text, "Names of fields, separated by commas; all when it is not there");

const FLOWS: &[Operation] = &[
    get("/api/v1/flows", "list_flows", "flows", "Conversations, newest first")
        .query(flow_filters!(FIELDS, LIMIT, CURSOR))
        .answer(page::<flows::Chosen>()),
    get("/api/v1/flows/stream", "stream_flows", "flows", "Conversations as they end")
        .query(flow_filters!(FIELDS, LAST))
        .answer(stream::<flows::Chosen>()),
    get("/api/v1/flows/stats", "flow_statistics", "flows", "Conversations added up by one property, and over time")
        .query(flow_filters!(
            parameter(
                "group_by",
                OneOf(&["src", "dst", "port", "proto", "proc", "country", "asn", "name", "service", "verdict"]),
                "The property"
            ),
            parameter("metric", OneOf(&["flows", "bytes", "bytes_in", "bytes_out"]), "What is added up"),
            parameter("top", Number(1_000), "So many groups"),
            parameter("bucket", Text, "A duration: each group has a series over time")
        ))
        .answer(json::<stats::View>()),
    get("/api/v1/flows/{id}", "get_flow", "flows", "One conversation, in memory or on disk").answer(json::<Flow>()),
];

const LIST_OPTIONS: &[Parameter] = &[
    DRY_RUN,
    FORCE,
    parameter("aggregate", Bool, "Merges entries that mean the same"),
    CONFIRM,
    parameter("shadow", Bool, "Counts what would be cut, and lets it pass"),
    parameter("action", OneOf(&["observe", "throttle", "drop", "reset"]), "What to do with the packets"),
    parameter("bytes_per_second", Number(i64::MAX as u64), "With throttle"),
    parameter("burst_bytes", Number(i64::MAX as u64), "With throttle"),
];

const ENTRY_OPTIONS: &[Parameter] = &[DRY_RUN, FORCE, CONFIRM];
const VALUE: Parameter = parameter("value", Text, "The entry: an address, a prefix or a name");

const ENFORCEMENT: &[Operation] = &[
    get("/api/v1/verdicts", "list_verdicts", "enforcement", "Verdicts in force, newest first")
        .query(&[LIMIT, CURSOR])
        .answer(page::<verdicts::View>()),
    get("/api/v1/verdicts", "add_verdict", "enforcement", "Puts a verdict in force, or renews it")
        .with("POST")
        .body(body::<verdicts::Wanted>())
        .answer(json::<verdicts::AddedView>())
        .status(&[200, 201]),
    get("/api/v1/verdicts/stream", "stream_verdicts", "enforcement", "Verdicts as they come and go")
        .query(&[LAST])
        .answer(stream::<stream::VerdictView>()),
    get("/api/v1/verdicts/{id}", "get_verdict", "enforcement", "One verdict").answer(json::<verdicts::View>()),
    get("/api/v1/verdicts/{id}", "release_verdict", "enforcement", "Ends a verdict")
        .with("DELETE")
        .answer(json::<verdicts::View>()),
    get("/api/v1/blocklists", "list_blocklists", "enforcement", "Block-lists, without their entries")
        .answer(page::<blocklists::View>()),
    get("/api/v1/blocklists/{name}", "get_blocklist", "enforcement", "A block-list's entries, one a line")
        .answer(Answer::Bytes("text/plain; charset=utf-8"))
        .status(&[200, 304]),
    get("/api/v1/blocklists/{name}", "replace_blocklist", "enforcement", "Replaces a block-list as a whole")
        .with("PUT")
        .query(LIST_OPTIONS)
        .body(Body::Text)
        .answer(json::<blocklists::Change>())
        .status(&[200, 201]),
    get("/api/v1/blocklists/{name}", "remove_blocklist", "enforcement", "Removes a block-list")
        .with("DELETE")
        .answer(json::<blocklists::View>()),
    get("/api/v1/blocklists/{name}/entries", "list_blocklist_entries", "enforcement", "Single entries of a block-list")
        .query(&[LIMIT, CURSOR])
        .answer(page::<entries::View>()),
    get("/api/v1/blocklists/{name}/entries", "add_blocklist_entry", "enforcement", "Adds an entry, or renews it")
        .with("POST")
        .query(ENTRY_OPTIONS)
        .body(body::<entries::Wanted>())
        .answer(json::<entries::Change>())
        .status(&[200, 201]),
    get(
        "/api/v1/blocklists/{name}/entries",
        "remove_blocklist_entry",
        "enforcement",
        "Removes the entry that is named",
    )
    .with("DELETE")
    .query(&[VALUE])
    .answer(json::<entries::Change>()),
    get("/api/v1/blocklists/{name}/entries/{*value}", "remove_blocklist_value", "enforcement", "Removes an entry")
        .with("DELETE")
        .answer(json::<entries::Change>()),
    get("/api/v1/allowlists", "list_allowlists", "enforcement", "Allow-lists, without their entries")
        .answer(page::<allowlists::View>()),
    get("/api/v1/allowlists/{name}", "get_allowlist", "enforcement", "An allow-list's entries, one a line")
        .answer(Answer::Bytes("text/plain; charset=utf-8"))
        .status(&[200, 304]),
    get("/api/v1/allowlists/{name}", "replace_allowlist", "enforcement", "Replaces an allow-list as a whole")
        .with("PUT")
        .query(&[DRY_RUN, FORCE, CONFIRM])
        .body(Body::Text)
        .answer(json::<blocklists::Change>())
        .status(&[200, 201]),
    get("/api/v1/allowlists/{name}", "remove_allowlist", "enforcement", "Removes an allow-list")
        .with("DELETE")
        .answer(json::<allowlists::View>()),
    get(
        "/api/v1/allowlists/{name}/entries",
        "list_allowlist_entries",
        "enforcement",
        "Single entries of an allow-list",
    )
    .query(&[LIMIT, CURSOR])
    .answer(page::<entries::View>()),
    get("/api/v1/allowlists/{name}/entries", "add_allowlist_entry", "enforcement", "Adds an entry, or renews it")
        .with("POST")
        .query(ENTRY_OPTIONS)
        .body(body::<entries::Wanted>())
        .answer(json::<entries::Change>())
        .status(&[200, 201]),
    get(
        "/api/v1/allowlists/{name}/entries",
        "remove_allowlist_entry",
        "enforcement",
        "Removes the entry that is named",
    )
    .with("DELETE")
    .query(&[VALUE])
    .answer(json::<entries::Change>()),
    get("/api/v1/allowlists/{name}/entries/{*value}", "remove_allowlist_value", "enforcement", "Removes an entry")
        .with("DELETE")
        .answer(json::<entries::Change>()),
    get("/api/v1/confirmations", "list_confirmations", "enforcement", "Changes that undo themselves unless confirmed")
        .answer(page::<confirmations::View>()),
    get("/api/v1/confirmations/{id}", "confirm", "enforcement", "Keeps a change")
        .with("POST")
        .answer(json::<confirmations::View>()),
    get("/api/v1/confirmations/{id}", "revert", "enforcement", "Undoes a change at once")
        .with("DELETE")
        .answer(json::<confirmations::View>()),
    get("/api/v1/unblock", "unblock", "enforcement", "Undoes everything that hits an address, or everything")
        .with("POST")
        .body(body::<confirmations::Wanted>())
        .answer(json::<confirmations::Unblocked>()),
    get("/api/v1/feeds", "list_feeds", "enforcement", "Lists that are fetched").answer(page::<feeds::View>()),
    get("/api/v1/feeds/{target}", "update_feed", "enforcement", "`NAME:update` fetches a list")
        .with("POST")
        .query(&[parameter("force", Bool, "Takes a list of any size, and asks for it even if it is known")])
        .answer(json::<feeds::View>()),
    get("/api/v1/policies", "list_policies", "enforcement", "Policies, in the order in which they are asked")
        .answer(json::<policies::Listed>()),
    get("/api/v1/policies/{name}", "get_policy", "enforcement", "One policy, and its text")
        .answer(json::<policies::Whole>())
        .status(&[200, 304]),
    get("/api/v1/policies/{name}", "put_policy", "enforcement", "Puts a policy in force, or in another's place")
        .with("PUT")
        .query(&[DRY_RUN])
        .body(Body::Policy { is_needed: true })
        .answer(json::<policies::Change>())
        .status(&[200, 201, 409, 412]),
    get("/api/v1/policies/{name}", "remove_policy", "enforcement", "Takes a policy of the API out of force")
        .with("DELETE")
        .query(&[DRY_RUN])
        .answer(json::<policies::Change>())
        .status(&[200, 409, 412]),
    get(
        "/api/v1/policies:simulate",
        "simulate_policies",
        "enforcement",
        "What policies would have cut of what was seen",
    )
    .with("POST")
    .query(&[
        parameter("since", Moment, "Findings and flows since; 24h when empty"),
        parameter("limit", Number(1_000_000), "Flows looked at, at most; 100,000 when empty"),
    ])
    .body(Body::Policy { is_needed: false })
    .answer(json::<policies::Simulation>()),
    get(
        "/api/v1/policies:generate",
        "generate_policies",
        "enforcement",
        "Proposes an egress policy from what was seen",
    )
    .with("POST")
    .query(&[
        parameter("format", OneOf(&["netd", "kubernetes", "cilium"]), "How it is written"),
        parameter("by", OneOf(&["process", "container"]), "Whose destinations stand together"),
        parameter("since", Moment, "Flows since; 7d when empty"),
        parameter("least", Number(1_000_000), "Flows that make a destination a rule; 3 when empty"),
        parameter("limit", Number(1_000_000), "Flows looked at, at most; 100,000 when empty"),
    ])
    .answer(Answer::Bytes("application/yaml")),
    get("/api/v1/policies:validate", "validate_policies", "enforcement", "Says what a text of policies would change")
        .with("POST")
        .body(Body::Text)
        .answer(json::<policies::Validated>()),
    get("/api/v1/config:reload", "reload_policies", "enforcement", "Reads policies and services again")
        .with("POST")
        .answer(json::<Reload>()),
    get("/api/v1/kill-switch", "get_kill_switch", "enforcement", "Whether everything passes")
        .answer(json::<mode::SwitchView>()),
    get("/api/v1/kill-switch", "set_kill_switch", "enforcement", "Makes everything pass, or netd act again")
        .with("PUT")
        .body(body::<mode::SwitchWanted>())
        .answer(json::<mode::SwitchView>()),
    get("/api/v1/mode", "set_mode", "enforcement", "Sets how far netd goes")
        .with("PUT")
        .body(body::<mode::Wanted>())
        .answer(json::<mode::View>()),
];

macro_rules! decision_filters {
    ($($more:expr),*) => {
        &[
            parameter("scopes", Text, "`ip`, `range`, `endpoint`, separated by commas; `ip,range` when empty"),
            parameter("scope", Text, "One scope"),
            parameter("value", Text, "The decision's value"),
            parameter("type", Text, "`ban` is all there is"),
            parameter("ip", Address, "Decisions that hold this address"),
            parameter("range", Prefix, "Decisions that hold this prefix"),
            parameter("origins", Text, "`netd` is all there is"),
            parameter("scenarios_containing", Text, "Parts of scenarios, separated by commas"),
            parameter("scenarios_not_containing", Text, "Parts of scenarios, separated by commas"),
            $($more),*
        ]
    };
}

const DECISIONS: &[Operation] = &[
    get("/api/v1/decisions", "list_decisions", "decisions", "What netd cuts, newest first")
        .query(&[
            parameter("scopes", Text, "`ip`, `range`, `endpoint`, separated by commas; all when empty"),
            parameter("ip", Address, "Decisions that hold this address"),
            LIMIT,
            CURSOR,
        ])
        .answer(page::<decisions::Decision>()),
    get("/v1/decisions", "query_decisions", "decisions", "CrowdSec's local API: decisions in force, or null")
        .query(decision_filters!())
        .answer(json::<Option<Vec<decisions::Decision>>>()),
    get(
        "/v1/decisions/stream",
        "pull_decisions",
        "decisions",
        "CrowdSec's local API: what changed since the last call",
    )
    .query(decision_filters!(parameter("startup", Bool, "Everything, and deltas from here on")))
    .answer(json::<decisions::Delta>()),
];

const ENTITIES: &[Operation] = &[
    get("/api/v1/hosts/{ip}", "get_host", "entities", "An address").answer(json::<entities::HostView>()),
    get("/api/v1/domains/{name}", "get_domain", "entities", "A name and all below it")
        .answer(json::<entities::DomainView>()),
    get("/api/v1/processes/{pid}", "get_process", "entities", "A process of this host")
        .answer(json::<entities::ProcessView>()),
    get("/api/v1/containers/{id}", "get_container", "entities", "A container, by twelve characters of its id or more")
        .answer(json::<entities::ContainerView>()),
];

const HUNTS: &[Operation] = &[
    get("/api/v1/beacons", "hunt_beacons", "hunts", "Pairs by their rhythm, those below the threshold too")
        .query(&[Q, LIMIT])
        .answer(json::<hunts::Found<hunts::Beacon>>()),
    get("/api/v1/tunnels", "hunt_tunnels", "hunts", "Names and echoes that carry more than they should")
        .query(&[Q, LIMIT])
        .answer(json::<hunts::Found<hunts::Tunnel>>()),
    get("/api/v1/dns/top", "hunt_names", "hunts", "Domains by how often they are asked for")
        .query(&[Q, LIMIT])
        .answer(json::<hunts::Found<hunts::Domain>>()),
    get("/api/v1/listeners", "hunt_listeners", "hunts", "Processes of this host that wait on a port")
        .query(&[Q, LIMIT])
        .answer(json::<hunts::Found<hunts::Listener>>()),
];

const OPERATION: &[Operation] = &[
    get("/livez", "get_liveness", "operation", "Whether netd lives").answer(json::<health::Liveness>()).open(),
    get("/readyz", "get_readiness", "operation", "Whether netd does its work; 503 says why not")
        .answer(json::<health::Readiness>())
        .status(&[200, 503])
        .open(),
    get("/metrics", "get_metrics", "operation", "Counters for Prometheus")
        .answer(Answer::Bytes("application/openmetrics-text; version=1.0.0; charset=utf-8")),
    get("/docs", "get_docs", "operation", "A viewer of this document").answer(Answer::Nothing).status(&[308]),
    get("/docs/", "get_docs_index", "operation", "The viewer's page").answer(Answer::Bytes("text/html")),
    get("/docs/{*path}", "get_docs_file", "operation", "The viewer's files").answer(Answer::Bytes("*/*")),
    get("/api/v1/version", "get_version", "operation", "Which netd this is").answer(json::<health::Version>()),
    get("/api/v1/openapi.json", "get_openapi", "operation", "This document"),
    get("/api/v1/status", "get_status", "operation", "Mode, counters, losses, tables").answer(json::<status::View>()),
    get("/api/v1/replay", "replay_capture", "operation", "Replays a capture in the background")
        .with("POST")
        .query(&[parameter("local", Text, "Monitored networks, separated by commas; the daemon's own when empty")])
        .body(Body::Capture)
        .answer(json::<jobs::View>())
        .status(&[202, 409, 413, 429, 507]),
    get("/api/v1/jobs", "list_jobs", "operation", "Captures that wait, are replayed, or were")
        .answer(page::<jobs::View>()),
    get("/api/v1/jobs/{id}", "get_job", "operation", "A job, and what it found").answer(json::<jobs::Whole>()),
    get("/api/v1/jobs/{id}", "cancel_job", "operation", "Ends a job that is not over, and forgets it")
        .with("DELETE")
        .answer(json::<jobs::View>()),
    get("/api/v1/sinks", "list_sinks", "operation", "Where what happens is written or sent to")
        .answer(page::<sinks::View>()),
    get("/api/v1/config", "get_config", "operation", "What the configuration file sets, without secrets")
        .answer(json::<status::ConfigView>()),
];

const ACCESS: &[Operation] = &[
    get("/api/v1/audit", "list_audit", "access", "Who changed what, newest first")
        .query(&[LIMIT, CURSOR])
        .answer(page::<Record>()),
    get("/api/v1/session", "get_session", "access", "The session that the cookie opens")
        .answer(json::<session::View>()),
    get("/api/v1/session", "begin_session", "access", "Exchanges the token that is presented for a cookie")
        .with("POST")
        .answer(json::<session::View>())
        .status(&[201]),
    get("/api/v1/session", "end_session", "access", "Ends the session; the token stays")
        .with("DELETE")
        .answer(json::<session::View>()),
    get("/api/v1/tokens", "list_tokens", "access", "Tokens, without their secrets").answer(page::<tokens::View>()),
    get("/api/v1/tokens", "create_token", "access", "Makes a token; its secret is in this answer and nowhere else")
        .with("POST")
        .body(body::<tokens::Wanted>())
        .answer(json::<tokens::Made>())
        .status(&[201]),
    get("/api/v1/tokens/{id}", "revoke_token", "access", "Ends a token").with("DELETE").answer(json::<tokens::View>()),
];
