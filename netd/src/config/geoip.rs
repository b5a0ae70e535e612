//! Which databases of countries and autonomous systems are asked.

use std::path::{Path, PathBuf};

use netd_geoip::Paths;
use serde::Deserialize;

/// MMDB files; an empty path is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Geoip {
    pub country: PathBuf,
    pub asn: PathBuf,
}

impl Geoip {
    /// Returns the files that were named.
    #[must_use]
    pub fn paths(&self) -> Paths {
        let named = |path: &Path| (!path.as_os_str().is_empty()).then(|| path.to_owned());
        Paths { country: named(&self.country), asn: named(&self.asn) }
    }
}
