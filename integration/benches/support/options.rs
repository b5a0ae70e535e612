//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::race::Effort;

/// How to measure, and what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) gate: bool,
    only: Option<String>,
    /// netd's programs, where they are not the committed ones.
    pub(crate) object: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse() -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // From cargo.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--gate" => options.gate = true,
                "--only" => options.only = Some(arguments.next().context("--only wants a word")?),
                "--object" => options.object = Some(arguments.next().context("--object wants a file")?.into()),
                other => bail!("{other} is no option: --quick, --gate, --only WORD, --object FILE"),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, group: &str) -> bool {
        self.only.as_ref().is_none_or(|word| group.contains(word.as_str()))
    }

    /// Returns how often to sample runs of `packets`.
    pub(crate) fn effort(&self, packets: u32) -> Effort {
        match self.quick {
            false => Effort { rounds: 5, samples: 11, packets },
            true => Effort { rounds: 2, samples: 3, packets },
        }
    }
}
