//! Canaries: the share of hosts and containers on which a policy acts before it does everywhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::finding::Finding;

/// Where `mode: canary` acts; elsewhere it is a shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Of the hosts that begin, or of the containers where they are known.
    pub share: Share,
}

impl Canary {
    /// Returns whether a finding's originator is a canary. The same ones are for every policy, and a larger share holds
    /// those of a smaller one.
    #[must_use]
    pub fn includes(&self, finding: &Finding) -> bool {
        let container = finding.process.as_ref().and_then(|process| process.container.as_ref());
        let digest = match container {
            Some(container) => Sha256::digest(container.id.as_bytes()),
            None => Sha256::digest(finding.pair.originator.to_string().as_bytes()),
        };
        let [a, b, c, d, ..] = *digest.as_slice() else { return false };
        let place = u64::from(u32::from_be_bytes([a, b, c, d]));
        place * u64::from(Share::WHOLE) < u64::from(self.share.0) << 32
    }
}

/// A share in hundredths of a per cent, written `10%` or `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^[0-9]+(\.[0-9]{1,2})?%$"))]
pub struct Share(u32);

impl Share {
    const WHOLE: u32 = 10_000;

    fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 2 {
            return None;
        }
        let hundredths = format!("{part:0<2}").parse::<u32>().ok()?;
        let share = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths)?;
        (share > 0 && share <= Self::WHOLE).then_some(Self(share))
    }
}

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no share; expected one from 0.01% to 100%, such as 10%"))
    }
}

impl From<Share> for String {
    fn from(Share(share): Share) -> Self {
        match share % 100 {
            0 => format!("{}%", share / 100),
            part => format!("{}.{part:02}%", share / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::finding;
    use super::*;

    fn share(text: &str) -> Share {
        Share::parse(text).expect("a share")
    }

    #[test]
    fn a_share_is_more_than_nothing_and_at_most_all() {
        assert_eq!([share("10%"), share("0.5%"), share("100%")], [Share(1_000), Share(50), Share(10_000)]);
        for text in ["10", "0%", "101%", "-1%", "1.%", "0.001%", "%", "ten%", "99999999999%"] {
            assert_eq!(Share::parse(text), None, "{text}");
        }
        assert_eq!(String::from(share("0.05%")), "0.05%");
    }

    #[test]
    fn a_larger_share_holds_the_canaries_of_a_smaller_one() {
        let is_in = |text: &str, last: u8| {
            let mut finding = Finding { process: None, ..finding("beacon") };
            finding.pair.originator = [10, 0, 0, last].into();
            Canary { share: share(text) }.includes(&finding)
        };
        let members = |text: &str| (0..=255).filter(|last| is_in(text, *last)).collect::<Vec<_>>();

        let (few, many) = (members("10%"), members("30%"));

        assert!((10..45).contains(&few.len()) && (50..105).contains(&many.len()), "{} {}", few.len(), many.len());
        assert!(few.iter().all(|last| many.contains(last)));
        assert_eq!(members("100%").len(), 256);
    }
}
