//! What differs between two sets of policies, field by field.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Policies, Policy};

/// What changes when one set of policies takes another's place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "PolicyDifference")]
pub struct Difference {
    /// Names of policies that come.
    pub added: Vec<String>,
    /// Names of policies that go.
    pub removed: Vec<String>,
    /// Fields of policies that stay.
    pub changed: Vec<Change>,
    /// Whether those that stay are asked in another order.
    pub reordered: bool,
}

/// A field that has another value.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "PolicyChange")]
pub struct Change {
    /// The name of the policy.
    pub policy: String,
    /// `spec.block_at.beacon`.
    pub field: String,
    /// Null where the old set does not state the field.
    pub old: Value,
    /// Null where the new set does not state the field.
    pub new: Value,
}

impl Difference {
    #[must_use]
    pub fn between(old: &Policies, new: &Policies) -> Self {
        let names = |policies: &Policies, without: &Policies| {
            let missing = policies.iter().filter(|policy| without.get(&policy.name).is_none());
            missing.map(|policy| policy.name.to_string()).collect::<Vec<_>>()
        };
        let staying = |policies: &Policies, other: &Policies| {
            let both = policies.iter().filter(|policy| other.get(&policy.name).is_some());
            both.map(|policy| policy.name.clone()).collect::<Vec<_>>()
        };
        let pairs = old.iter().filter_map(|policy| Some((policy, new.get(&policy.name)?)));
        Self {
            added: names(new, old),
            removed: names(old, new),
            changed: pairs.flat_map(|(old, new)| changes(old, new)).collect(),
            reordered: staying(old, new) != staying(new, old),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn changes(old: &Policy, new: &Policy) -> Vec<Change> {
    let (mut before, mut after) = (fields(old), fields(new));
    let mut paths: Vec<_> = before.keys().chain(after.keys()).cloned().collect();
    paths.sort_unstable();
    paths.dedup();
    let differing = paths.into_iter().filter_map(|field| {
        let (old_value, new_value) = (before.remove(&field), after.remove(&field));
        (old_value != new_value).then(|| Change {
            policy: old.name.to_string(),
            field,
            old: old_value.unwrap_or_default(),
            new: new_value.unwrap_or_default(),
        })
    });
    differing.collect()
}

/// Returns every field that is stated, by its path. A list is one value.
fn fields(policy: &Policy) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    let mut rest = vec![("spec".to_owned(), serde_json::to_value(&policy.spec).unwrap_or_default())];
    while let Some((path, value)) = rest.pop() {
        match value {
            Value::Object(object) if !object.is_empty() => {
                rest.extend(object.into_iter().map(|(key, value)| (format!("{path}.{key}"), value)));
            }
            Value::Object(_) => {}
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                fields.insert(path, value);
            }
        }
    }
    fields
}
