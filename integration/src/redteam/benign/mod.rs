//! The benign list.
use anyhow::Result;
use serde_json::{Value, json};

/// What netd said of a benign case.
#[derive(Debug)]
pub struct Verdict {
    pub name: &'static str,
}
impl Verdict {
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "case": self.name })
    }
}
#[must_use]
pub fn missed(_verdicts: &[Verdict]) -> Vec<String> {
    Vec::new()
}
