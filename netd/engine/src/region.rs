//! Where an address is: country and autonomous system, as a database that the shell holds says.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// A country or territory: ISO 3166-1 alpha-2, two capital letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// Reads a code of two ASCII letters, in either case. `ZZ` and `XX` stand for "unknown" in the databases of this
    /// field, and are no country.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let [first, second] = *code.as_bytes() else { return None };
        let code = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
        (code.iter().all(u8::is_ascii_uppercase) && code != *b"ZZ" && code != *b"XX").then_some(Self(code))
    }

    /// Returns the two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Two capital letters are always UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What is known of where an address is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Region {
    /// ISO 3166-1 alpha-2, two capital letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", regex(pattern = "^[A-Z]{2}$"))]
    pub country: Option<Country>,
    /// Autonomous system number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// The autonomous system's name. It comes from a file: no control characters, bounded length.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub as_name: Option<Arc<str>>,
}

impl Region {
    /// Whether nothing is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.country.is_none() && self.asn.is_none()
    }
}

impl fmt::Display for Region {
    /// Writes `DE AS64500 Example Networks`, as far as it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let country = self.country.map(|country| country.to_string());
        let asn = self.asn.map(|asn| format!("AS{asn}"));
        let name = self.as_name.as_deref().map(str::to_owned);
        let known: Vec<String> = [country, asn, name].into_iter().flatten().collect();
        f.write_str(&known.join(" "))
    }
}

fn text<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

/// Says where addresses are. It may come to know more or less while the engine runs: a database is replaced.
pub trait Geography: fmt::Debug + Send + Sync {
    /// Returns what is known of `address`.
    fn region(&self, address: IpAddr) -> Option<Region>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_two_letters_that_mean_one() {
        assert_eq!(Country::new("de").unwrap().as_str(), "DE");
        for text in ["", "D", "DEU", "D3", "ZZ", "xx", "é"] {
            assert_eq!(Country::new(text), None, "{text}");
        }
    }

    #[test]
    fn a_region_is_written_as_far_as_it_is_known() {
        let all = Region { country: Country::new("NL"), asn: Some(64_500), as_name: Some("Example".into()) };

        assert_eq!(all.to_string(), "NL AS64500 Example");
        assert_eq!(Region { asn: Some(64_500), ..Region::default() }.to_string(), "AS64500");
        assert!(Region::default().is_empty() && !all.is_empty());
    }
}
