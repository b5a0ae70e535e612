//! Calibration: prints how reliable the posterior is and what the terms would weigh; writes it as Markdown and JSON.
//!
//! `calibrate [--quick] [--day-seeds N,N,..] [--captures FOLDER] [--docs FOLDER] [--write]`; `--write` puts the fitted
//! weights into `netd/engine/weights.toml`.

#![expect(clippy::print_stdout, reason = "a command speaks to whoever typed it")]

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use netd_lab::binary;
use netd_lab::calibrate::{self, DAY_SEEDS, Options};

const WEIGHTS: &str = "netd/engine/weights.toml";

fn main() -> Result<()> {
    let (options, folder, is_written) = arguments()?;
    let report = calibrate::calibrate(&options)?;
    println!("{}", report.markdown());
    if let Some(folder) = folder {
        std::fs::create_dir_all(&folder)?;
        for (name, text) in [("calibration.md", report.markdown()), ("calibration.json", report.json()?)] {
            std::fs::write(folder.join(name), text).with_context(|| format!("writing {name}"))?;
        }
    }
    if is_written {
        let file = binary::root().join(WEIGHTS);
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {WEIGHTS}"))?;
        std::fs::write(&file, calibrate::rewritten(&text, &report)?).with_context(|| format!("writing {WEIGHTS}"))?;
        println!("{WEIGHTS} holds the fitted weights");
    }
    Ok(())
}

fn arguments() -> Result<(Options, Option<PathBuf>, bool)> {
    let captures =
        std::env::var_os("NETD_CAPTURES").map_or_else(|| binary::root().join("../shared/captures"), PathBuf::from);
    let mut options = Options { captures, day_seeds: DAY_SEEDS.to_vec(), quick: false };
    let (mut folder, mut is_written) = (None, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--quick" => options.quick = true,
            "--write" => is_written = true,
            "--captures" => options.captures = value()?.into(),
            "--docs" => folder = Some(value()?.into()),
            "--day-seeds" => {
                let seeds = value()?.split(',').map(str::parse).collect::<Result<_, _>>();
                options.day_seeds = seeds.context("seeds are whole numbers")?;
            }
            other => {
                bail!("what is {other}? [--quick] [--day-seeds N,N,..] [--captures FOLDER] [--docs FOLDER] [--write]")
            }
        }
    }
    Ok((options, folder, is_written))
}
