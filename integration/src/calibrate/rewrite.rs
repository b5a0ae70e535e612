//! Fitted weights in the text of `weights.toml`: numbers change, and nothing else.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use netd_engine::weights::{Term, Weights};

const SECTION: &str = "[terms]";
const KEY: &str = "weight = ";

/// Returns the text with other weights, to two decimals.
///
/// # Errors
///
/// When a term has no line of its own, or the text does not say afterwards what it should.
pub(crate) fn with_weights(text: &str, fitted: &BTreeMap<Term, f64>) -> Result<String> {
    let mut rewritten = String::with_capacity(text.len());
    let mut is_inside = false;
    let mut left = fitted.clone();
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            is_inside = line.trim_end() == SECTION;
        }
        let name = line.split_once(" =").map(|(name, _)| name).filter(|_| is_inside);
        let term = name.and_then(|name| left.keys().copied().find(|term| term.name() == name));
        match term.and_then(|term| left.remove(&term)) {
            Some(weight) => rewritten.push_str(&line_with(line, weight)?),
            None => rewritten.push_str(line),
        }
    }
    if let Some(term) = left.keys().next() {
        bail!("no line of its own: {}", term.name());
    }
    let read =
        Weights::read(&rewritten).map_err(|error| anyhow::anyhow!("what was written cannot be read: {error}"))?;
    for (term, weight) in fitted {
        if (read.worth(*term).weight - weight).abs() > 0.005 + 1e-9 {
            bail!("{} was not written as {weight}", term.name());
        }
    }
    Ok(rewritten)
}

fn line_with(line: &str, weight: f64) -> Result<String> {
    let at = line.find(KEY).with_context(|| format!("no weight in: {}", line.trim_end()))? + KEY.len();
    let (before, after) = line.split_at(at);
    let length =
        after.find([' ', ',', '}']).with_context(|| format!("no end of the weight in: {}", line.trim_end()))?;
    Ok(format!("{before}{}{}", number(weight), &after[length..]))
}

/// Two decimals at most, one at least: `1.0`, `-1.25`.
fn number(weight: f64) -> String {
    let text = format!("{weight:.2}");
    text.strip_suffix('0').map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use netd_engine::weights::SHIPPED;

    use super::*;

    #[test]
    fn only_the_numbers_named_change() {
        let fitted = BTreeMap::from([(Term::SizesAlike, 1.234), (Term::Echo, -3.0), (Term::RareAsn, 0.55)]);

        let text = with_weights(SHIPPED, &fitted).unwrap();

        let changed: Vec<(&str, &str)> = SHIPPED.lines().zip(text.lines()).filter(|(old, new)| old != new).collect();
        assert_eq!(text.lines().count(), SHIPPED.lines().count());
        assert!(changed.iter().all(|(old, new)| old.split(KEY).next() == new.split(KEY).next()), "{changed:?}");
        assert!(text.contains("sizes_alike = { kind = \"content\", weight = 1.23, independent = false }"));
        let weights = Weights::read(&text).unwrap();
        assert_eq!(weights.worth(Term::Echo).weight, -3.0);
        assert_eq!(weights.worth(Term::RareAsn).weight, 0.55);
        assert_eq!(weights.worth(Term::Tasking), Weights::default().worth(Term::Tasking));
    }

    #[test]
    fn comments_stay() {
        let fitted = Term::ALL.iter().map(|term| (*term, Weights::default().worth(*term).weight * 1.1)).collect();
        let comments =
            |text: &str| text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();

        let text = with_weights(SHIPPED, &fitted).unwrap();

        assert_ne!(text, SHIPPED);
        assert_eq!(comments(&text), comments(SHIPPED));
    }

    #[test]
    fn the_same_weights_leave_the_text_alone() {
        let present = Term::ALL.iter().map(|term| (*term, Weights::default().worth(*term).weight)).collect();

        assert_eq!(with_weights(SHIPPED, &present).unwrap(), SHIPPED);
    }

    #[test]
    fn a_term_without_a_line_is_an_error() {
        let text = SHIPPED.replace("echo = {", "\"echo\" = {");

        assert!(with_weights(&text, &BTreeMap::from([(Term::Echo, -1.0)])).is_err());
    }
}
