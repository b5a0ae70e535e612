//! Every policy with the text that states it: the operator's files, then what the API was given, then what netd ships.
//!
//! What netd ships is for whoever names no file, and takes every finding: it is asked last.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use netd_engine::policy::{Name, Place, Policies, Policy};
use schemars::JsonSchema;
use serde::Serialize;

use crate::config::policies::{self, Faults, Text, Texts};

/// Whose a policy is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PolicyOrigin")]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// A file of the operator's.
    File {
        /// Its path.
        file: String,
    },
    /// It was put through the API.
    Api,
    /// It came with netd, which was named no file.
    Shipped,
}

/// Policies that go together.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    policies: Arc<Policies>,
    texts: Vec<Text>,
    /// Whose each of the texts is.
    origins: Vec<Origin>,
    /// Of each policy; none for policies that no text states.
    places: Vec<Place>,
}

/// A policy with its text.
#[derive(Clone, Copy, Debug)]
pub struct Stated<'a> {
    /// From 0, in the order in which policies are asked.
    pub order: usize,
    pub policy: &'a Policy,
    pub origin: &'a Origin,
    /// Its document.
    pub text: &'a str,
}

impl Collection {
    /// Reads the operator's files, and adds what the API was given.
    ///
    /// # Errors
    /// Each fault of any of them.
    pub fn read(path: &Path, written: &BTreeMap<Name, String>) -> Result<Self, Faults> {
        let Texts { texts, faults } = policies::texts(path)?;
        let whose = |text: Text| {
            let file = text.file.clone();
            let is_shipped = path.as_os_str().is_empty();
            (text, if is_shipped { Origin::Shipped } else { Origin::File { file } })
        };
        Self::of(texts.into_iter().map(whose).chain(of_api(written)), faults)
    }

    /// Returns the same with this as what the API was given.
    ///
    /// # Errors
    /// Each fault of what it was given.
    pub fn with(&self, written: &BTreeMap<Name, String>) -> Result<Self, Faults> {
        let texts = self.texts.iter().cloned().zip(self.origins.iter().cloned());
        let others = texts.filter(|(_, origin)| *origin != Origin::Api);
        Self::of(others.chain(of_api(written)), Vec::new())
    }

    fn of(
        texts: impl Iterator<Item = (Text, Origin)>,
        faults: Vec<netd_engine::policy::Fault>,
    ) -> Result<Self, Faults> {
        let (shipped, stated): (Vec<_>, Vec<_>) = texts.partition(|(_, origin)| *origin == Origin::Shipped);
        let (texts, origins): (Vec<_>, Vec<_>) = stated.into_iter().chain(shipped).unzip();
        let (policies, places) = policies::stated(&texts, faults)?;
        Ok(Self { policies: Arc::new(policies), texts, origins, places })
    }

    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies)
    }

    /// Returns every policy with its text, in the order in which they are asked.
    pub fn iter(&self) -> impl Iterator<Item = Stated<'_>> {
        self.policies.iter().enumerate().map(|(order, policy)| {
            let place = self.places.get(order);
            let stated = place.and_then(|place| Some((self.origins.get(place.source)?, self.texts.get(place.source)?)));
            let (origin, text) = match (stated, place) {
                (Some((origin, Text { text, .. })), Some(place)) => (origin, place.document(text)),
                (None, _) | (_, None) => (&Origin::Shipped, ""),
            };
            Stated { order, policy, origin, text }
        })
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<Stated<'_>> {
        self.iter().find(|stated| &*stated.policy.name == name)
    }
}

impl Stated<'_> {
    /// Returns the strong entity tag of its text.
    #[must_use]
    pub fn tag(&self) -> String {
        tag(self.text)
    }
}

pub(super) fn tag(text: &str) -> String {
    format!("\"b3-{}\"", &blake3::hash(text.as_bytes()).to_hex()[..32])
}

fn of_api(written: &BTreeMap<Name, String>) -> impl Iterator<Item = (Text, Origin)> {
    let whose = |(name, text): (&Name, &String)| (Text { file: label(name), text: text.clone() }, Origin::Api);
    written.iter().map(whose)
}

/// Returns what faults call the text of a policy that the API was given.
pub(super) fn label(name: &Name) -> String {
    format!("{name} of the API")
}
