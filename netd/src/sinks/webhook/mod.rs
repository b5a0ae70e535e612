//! Findings and verdicts posted to a web address: de-duplicated, limited, tried again.

mod body;
mod gate;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{StatusCode, Url, header, redirect};
use serde::Deserialize;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::body::Body;
use self::gate::{Admission, Gate};
use super::format::Record;
use super::{Fate, Item, Surroundings, Tally};
use crate::store::events::Event;
use crate::time;

/// A secret is at most this long.
const MAX_SECRET: u64 = 8 << 10;
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);
/// Attempts at one message.
const ATTEMPTS: u32 = 6;
/// Between two attempts: at first, doubled each time, and at most, whatever the peer says.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Between two looks whether a summary is due.
const SUMMARY: Duration = Duration::from_secs(30);

/// Where and how messages are posted.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub url: Secret,
    /// Sent as a bearer's.
    pub token: Option<Secret>,
    pub template: Template,
    /// The same again within this time is not told, unless its severity rose.
    pub dedup: Duration,
    /// Messages an hour, summaries included.
    pub max_per_hour: u32,
    /// First pause between attempts.
    pub retry: Duration,
}

/// What the body looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// `text`, and the event as netd's own JSON.
    #[default]
    Generic,
    /// Slack, Mattermost and what reads the same.
    Slack,
    /// ntfy: the last part of the path is the topic.
    Ntfy,
}

/// Where a secret stands.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Here(String),
    Env(String),
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("(given)"),
            Self::Env(name) => write!(f, "${name}"),
            Self::File(path) => write!(f, "in {}", path.display()),
        }
    }
}

/// Why a webhook cannot be used. No message holds the secret itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the environment has no {0}")]
    Env(String),
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} is longer than {MAX_SECRET} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("the URL is none: {0}")]
    Url(String),
    #[error("the URL is not https, and not on loopback either")]
    Plain,
    #[error("the token holds what a header cannot")]
    Token,
    #[error("cannot make a client: {0}")]
    Client(#[source] reqwest::Error),
}

impl Secret {
    fn read(&self) -> Result<String, Error> {
        let text = match self {
            Self::Here(text) => text.clone(),
            Self::Env(name) => std::env::var(name).map_err(|_| Error::Env(name.clone()))?,
            Self::File(path) => {
                let error = |source| Error::File { path: path.clone(), source };
                let mut text = String::new();
                let file = std::fs::File::open(path).map_err(error)?;
                std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_SECRET + 1), &mut text)
                    .map_err(error)?;
                if text.len() as u64 > MAX_SECRET {
                    return Err(Error::TooLong { path: path.clone() });
                }
                text
            }
        };
        Ok(text.trim().to_owned())
    }
}

/// Posts one sink's events until its queue is closed and empty.
pub struct Poster {
    client: reqwest::Client,
    url: Url,
    topic: Option<String>,
    webhook: Webhook,
    gate: Gate,
    surroundings: Surroundings,
    tally: Arc<Tally>,
    give_up: CancellationToken,
}

impl Poster {
    /// Reads the secrets and makes the client.
    ///
    /// # Errors
    /// When a secret is missing, or the address is none that may be used.
    pub fn new(
        webhook: Webhook,
        surroundings: Surroundings,
        tally: Arc<Tally>,
        give_up: CancellationToken,
    ) -> Result<Self, Error> {
        let mut url = address(&webhook.url.read()?)?;
        let topic = match webhook.template {
            Template::Ntfy => Some(split_topic(&mut url)?),
            Template::Generic | Template::Slack => None,
        };
        let mut headers = header::HeaderMap::new();
        if let Some(token) = &webhook.token {
            let mut value =
                header::HeaderValue::try_from(format!("Bearer {}", token.read()?)).map_err(|_| Error::Token)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        // Whoever installed one first decides; both would be the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("netd/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .build()
            .map_err(Error::Client)?;
        let gate = Gate::new(webhook.dedup, webhook.max_per_hour, time::now());
        Ok(Self { client, url, topic, webhook, gate, surroundings, tally, give_up })
    }

    /// Posts until `queue` is closed and empty.
    pub async fn run(mut self, mut queue: Receiver<Item>) {
        let mut ticks = tokio::time::interval(SUMMARY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                item = queue.recv() => match item {
                    Some(item) => {
                        self.tally.pop();
                        self.take(&item).await;
                    }
                    None => break,
                },
                _ = ticks.tick() => self.summarise().await,
            }
        }
        if !self.give_up.is_cancelled() {
            self.summarise().await;
        }
    }

    async fn take(&mut self, item: &Item) {
        let admission = match item {
            Item::Event { event: Event::Finding(stored), .. } => self.gate.admit(&stored.finding, time::now()),
            Item::Event { event: Event::Flow(_) | Event::Verdict(_), .. } | Item::Lookup(_) | Item::Stats { .. } => {
                self.gate.admit_other(time::now())
            }
        };
        match admission {
            Admission::Tell => {}
            Admission::Duplicate => return self.tally.count(Fate::Duplicate, 1),
            Admission::Hold => return self.tally.count(Fate::Held, 1),
        }
        let Self { surroundings, webhook, topic, .. } = &*self;
        let body = surroundings
            .tell(item, |record: &Record<'_>| Body::of(record, &surroundings.site))
            .write(webhook.template, topic.as_deref());
        let fate = if self.post(body).await { Fate::Sent } else { Fate::Failed };
        self.tally.count(fate, 1);
    }

    /// Tells how much was held back, when there is room for a message again.
    async fn summarise(&mut self) {
        let Some(summary) = self.gate.summary(time::now()) else { return };
        let body = Body::summary(&summary, &self.surroundings.site).write(self.webhook.template, self.topic.as_deref());
        self.post(body).await;
    }

    /// Returns whether the peer accepted.
    async fn post(&self, body: Vec<u8>) -> bool {
        let mut pause = self.webhook.retry;
        for attempt in 1..=ATTEMPTS {
            let request = self.client.post(self.url.clone()).header(header::CONTENT_TYPE, "application/json");
            let (why, wait) = match request.body(body.clone()).send().await {
                Ok(answer) if answer.status().is_success() => {
                    if attempt > 1 {
                        info!(sink = self.tally.name(), attempt, "the webhook answers again");
                    }
                    return true;
                }
                Ok(answer) if is_final(answer.status()) => {
                    warn!(sink = self.tally.name(), status = answer.status().as_u16(), "the webhook refuses");
                    return false;
                }
                Ok(answer) => (answer.status().to_string(), retry_after(&answer)),
                // The address may be a secret.
                Err(error) => (error.without_url().to_string(), None),
            };
            if attempt == 1 {
                warn!(sink = self.tally.name(), why, "the webhook failed; trying again");
            }
            if attempt < ATTEMPTS {
                self.tally.retry();
                let wait = wait.unwrap_or(pause).min(LONGEST_PAUSE);
                if self.give_up.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    return false;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        warn!(sink = self.tally.name(), attempts = ATTEMPTS, "the webhook was given up");
        false
    }
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            url: Secret::Here(String::new()),
            token: None,
            template: Template::default(),
            dedup: Duration::from_secs(3_600),
            max_per_hour: 20,
            retry: FIRST_PAUSE,
        }
    }
}

/// Another attempt would be refused as well. A redirection is not followed: it is the operator's to name the address.
fn is_final(status: StatusCode) -> bool {
    !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::REQUEST_TIMEOUT
}

fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Reads an address: https, or http on loopback.
fn address(text: &str) -> Result<Url, Error> {
    let url: Url = text.parse().map_err(|error: <Url as std::str::FromStr>::Err| Error::Url(error.to_string()))?;
    let is_loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback => Ok(url),
        _ => Err(Error::Plain),
    }
}

/// Takes the topic off an address.
fn split_topic(url: &mut Url) -> Result<String, Error> {
    let none = || Error::Url("it names no topic: https://ntfy.example/topic".to_owned());
    let topic = url.path_segments().and_then(|mut parts| parts.next_back().map(str::to_owned));
    let topic = topic.filter(|topic| !topic.is_empty()).ok_or_else(none)?;
    url.path_segments_mut().map_err(|()| none())?.pop().push("");
    Ok(topic)
}
