//! Which lists are fetched.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::feeds::envelope::PublicKey;
use crate::feeds::gates::Limits;
use crate::feeds::location::Location;
use crate::verdicts::blocklist::ListName;

/// Most feeds there can be: each takes a list.
const MOST: usize = 32;

/// A list that is fetched.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Also the list's name.
    #[serde(deserialize_with = "parsed")]
    pub name: ListName,
    #[serde(deserialize_with = "parsed")]
    pub url: Location,
    #[serde(default = "day", deserialize_with = "super::duration")]
    pub every: Duration,
    #[serde(default)]
    pub action: Action,
    /// Whose signature the list must have; without one, none.
    #[serde(default, deserialize_with = "parsed_option")]
    pub public_key: Option<PublicKey>,
    /// Whether the server may have an address that is not public.
    #[serde(default)]
    pub allow_private: bool,
    /// PEM file of certificates that are trusted besides the system's.
    #[serde(default)]
    pub certificates: Option<PathBuf>,
    min_entries: Option<u64>,
    max_entries: Option<u64>,
    max_growth: Option<f64>,
    max_shrink: Option<f64>,
}

/// What a feed's entries are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "FeedAction")]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Threat intelligence: a match is evidence.
    #[default]
    Alert,
    /// A block-list of the feed's name.
    Block,
    /// An allow-list of the feed's name.
    Allow,
}

impl Feed {
    /// Returns what its list must look like.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            least: self.min_entries.unwrap_or(usual.least),
            most: self.max_entries.unwrap_or(usual.most),
            growth: self.max_growth.unwrap_or(usual.growth),
            shrink: self.max_shrink.unwrap_or(usual.shrink),
        }
    }

    /// Returns the first value that cannot be meant: its key, itself, what it must be.
    fn flaw(&self) -> Option<(&'static str, String, &'static str)> {
        let Limits { least, most, growth, shrink } = self.limits();
        let of = |got: String| format!("{got} (feed {})", self.name);
        if let Some(forbidden) = self.url.flaw(self.allow_private) {
            return Some((
                "feed.url",
                of(format!("'{}': {forbidden}", self.url)),
                "the URL of a public server, or file:///…",
            ));
        }
        if self.every < Duration::from_secs(60) {
            return Some(("feed.every", of(format!("{}s", self.every.as_secs())), "at least 60s"));
        }
        if least == 0 || most < least {
            return Some(("feed.max_entries", of(most.to_string()), "at least min_entries, which is at least 1"));
        }
        if !(growth >= 1.0 && growth.is_finite()) {
            return Some(("feed.max_growth", of(growth.to_string()), "a factor of at least 1"));
        }
        (!(0.0..=1.0).contains(&shrink)).then(|| ("feed.max_shrink", of(shrink.to_string()), "a share from 0 to 1"))
    }
}

/// Returns the first value of the feeds that cannot be meant.
pub(super) fn flaw(feeds: &[Feed]) -> Option<(&'static str, String, &'static str)> {
    if feeds.len() > MOST {
        return Some(("feed", feeds.len().to_string(), "at most 32 feeds"));
    }
    let twice = feeds.iter().enumerate().find(|(at, feed)| feeds.iter().take(*at).any(|other| other.name == feed.name));
    if let Some((_, feed)) = twice {
        return Some(("feed.name", format!("'{}'", feed.name), "another name for each feed"));
    }
    feeds.iter().find_map(Feed::flaw)
}

const fn day() -> Duration {
    Duration::from_secs(86_400)
}

fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| D::Error::custom(format!("'{text}': {error}")))
}

fn parsed_option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: std::fmt::Display,
{
    parsed(deserializer).map(Some)
}
