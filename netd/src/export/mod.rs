//! Findings in the formats that other tools take in: STIX, Sigma, comma-separated values, Markdown. Pure.

pub mod csv;
mod markdown;
mod sigma;
mod sought;
mod stix;

#[cfg(test)]
mod tests;

use serde::Deserialize;

use crate::store::Stored;

pub(crate) use sought::Sought;

/// In which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A STIX 2.1 bundle.
    Stix,
    /// A Sigma rule a finding.
    Sigma,
    /// Comma-separated values with a head (RFC 4180).
    Csv,
    /// A report to be read.
    Md,
}

impl Format {
    /// Returns the name that requests use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stix => "stix",
            Self::Sigma => "sigma",
            Self::Csv => "csv",
            Self::Md => "md",
        }
    }

    /// Returns how names of files end.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Stix => "stix.json",
            Self::Sigma => "yml",
            Self::Csv => "csv",
            Self::Md => "md",
        }
    }

    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Stix => "application/stix+json;version=2.1",
            Self::Sigma => "application/yaml",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Md => "text/markdown; charset=utf-8",
        }
    }

    /// Returns the findings in this format.
    #[must_use]
    pub fn write(self, findings: &[Stored]) -> String {
        match self {
            Self::Stix => stix::bundle(findings),
            Self::Sigma => sigma::rules(findings),
            Self::Csv => csv::table(findings),
            Self::Md => markdown::report(findings),
        }
    }
}
