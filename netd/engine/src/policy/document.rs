//! The files that state policies: read strictly, and faults told as a compiler tells them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, MessageFormatter as _, Options, Spanned, UserMessageFormatter};

use super::{MOST, Policy, Spec};

/// Longest line that is shown of a file, in characters.
const SHOWN: usize = 160;

/// A file's text, and what faults call the file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

/// Where a policy stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// In which of the sources, from 0.
    pub source: usize,
    /// A line of its document, from 1.
    pub line: u64,
}

impl Place {
    /// Returns the policy's document, out of the text of its source.
    #[must_use]
    pub fn document<'t>(&self, text: &'t str) -> &'t str {
        let (mut start, mut at) = (0, 0);
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            let is_divider = line
                .strip_prefix("---")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
            if is_divider && number > self.line {
                return text.get(start..at).unwrap_or(text);
            }
            if is_divider {
                // What follows on the divider's line belongs to the document.
                start = if line.trim_end().len() > 3 { at } else { at + line.len() };
            }
            at += line.len();
        }
        text.get(start..).unwrap_or(text)
    }
}

/// A policy's name: 1 to 64 letters, digits, `-`, `_`, `.`. It is safe in paths, metrics and logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text cannot be a policy's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(String);

impl Name {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        name_flaw(text).map_or_else(|| Ok(Self(text.to_owned())), |flaw| Err(BadName(flaw)))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadName {}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PolicyFault")]
pub struct Fault {
    /// The file, or `body` of a request.
    pub file: String,
    /// From 1; 0 where the whole file is meant.
    pub line: u64,
    /// From 1, in characters; 0 where the whole file is meant.
    pub column: u64,
    /// What is wrong, and what was expected.
    pub message: String,
    /// The line itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub shown: String,
}

impl Fault {
    /// A fault of a file as a whole.
    #[must_use]
    pub fn whole(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0, message: message.into(), shown: String::new() }
    }

    fn at(source: Source<'_>, location: Option<Location>, message: String) -> Self {
        let (line, column) = location.map_or((0, 0), |location| (location.line(), location.column()));
        let place = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
        let shown = place.and_then(|place| source.text.lines().nth(place)).unwrap_or_default();
        let shown = shown.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { file: source.file.to_owned(), line, column, message, shown }
    }
}

impl fmt::Display for Fault {
    /// Writes `file:line:column: error: …`, the line, and a caret under the column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, shown } = self;
        if *line == 0 {
            return write!(f, "{file}: error: {message}");
        }
        write!(f, "{file}:{line}:{column}: error: {message}")?;
        let margin = line.to_string();
        let indent = usize::try_from(column.saturating_sub(1)).unwrap_or(SHOWN).min(SHOWN);
        write!(f, "\n{0:1$} |\n{margin} | {shown}\n{0:1$} | {0:indent$}^", "", margin.len())
    }
}

/// The version of a file's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    #[serde(rename = "netd/v1")]
    V1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum Kind {
    ResponsePolicy,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    pub name: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What a policy may do about findings, and about which.
#[derive(Deserialize, JsonSchema)]
#[schemars(title = "netd policy", rename = "ResponsePolicy")]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: Kind,
    #[schemars(with = "Metadata")]
    metadata: Spanned<Metadata>,
    #[schemars(with = "Spec")]
    spec: Spanned<Spec>,
}

/// Enough of a document to tell what it is.
#[derive(Deserialize)]
struct Head {
    kind: Option<String>,
}

/// The kind of a file that lies beside policies and states none: [`crate::services`].
const SERVICES: &str = "BenignServices";

/// Returns the JSON Schema of a policy.
#[must_use]
pub fn schema() -> Schema {
    schemars::schema_for!(Document)
}

/// Reads every document of every file; a name stands once in all of them.
pub(super) fn read(sources: &[Source<'_>]) -> Result<Vec<(Policy, Place)>, Vec<Fault>> {
    let (mut policies, mut faults) = (Vec::new(), Vec::new());
    let mut names = HashMap::<String, String>::new();
    for (at, source) in sources.iter().enumerate() {
        let documents = match documents(*source) {
            Ok(documents) => documents,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        for Document { metadata, spec, .. } in documents {
            let mut fault = |location, message| faults.push(Fault::at(*source, Some(location), message));
            let name = &metadata.value.name;
            if let Some(flaw) = name_flaw(name) {
                fault(metadata.defined, flaw);
            } else if let Some(other) = names.insert(name.clone(), source.file.to_owned()) {
                fault(metadata.defined, format!("a policy `{name}` stands in {other} already; names must differ"));
            }
            if let Some(flaw) = spec.value.flaw() {
                fault(spec.defined, flaw);
            }
            let place = Place { source: at, line: metadata.defined.line() };
            policies.push((Policy { name: name.as_str().into(), spec: spec.value }, place));
        }
    }
    if let Some(first) = sources.first().filter(|_| faults.is_empty()) {
        if policies.is_empty() {
            faults.push(Fault::whole(first.file, "no policy; expected a document of kind ResponsePolicy"));
        } else if policies.len() > MOST {
            faults.push(Fault::whole(first.file, format!("{} policies; at most {MOST} are read", policies.len())));
        }
    }
    if faults.is_empty() { Ok(policies) } else { Err(faults) }
}

fn documents(source: Source<'_>) -> Result<Vec<Document>, Fault> {
    let heads: Result<Vec<Head>, _> = serde_saphyr::from_multiple_with_options(source.text, options());
    // What is no head is told by the whole reader, which knows what was expected.
    if heads.is_ok_and(|heads| heads.first().is_some_and(|head| head.kind.as_deref() == Some(SERVICES))) {
        return Ok(Vec::new());
    }
    serde_saphyr::from_multiple_with_options(source.text, options()).map_err(|error| {
        // The place is told beside it; what is quoted of the file must not steer a terminal.
        let message = UserMessageFormatter.format_message(error.without_snippet());
        let message = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Fault::at(source, error.location(), message)
    })
}

/// A policy is a page or two: what is larger, deeper or refers to itself is a mistake or an attack on the parser.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 100_000,
            max_nodes: 50_000,
            max_depth: 16,
            max_documents: MOST,
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
        },
        with_snippet: false,
    }
}

/// Names go into paths, metrics and logs.
fn name_flaw(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = (1..=64).contains(&name.len()) && name.chars().all(is_plain);
    (!is_name).then(|| {
        let name: String = name.chars().take(64).map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("`{name}` cannot be a policy's name; expected 1 to 64 letters, digits, `-`, `_`, `.`")
    })
}
