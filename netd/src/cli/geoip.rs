//! `netd geoip`: what databases of countries and autonomous systems say of themselves, and how to make one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::anyhow;
use netd_geoip::build::{self, Options};
use netd_geoip::{Database, Info, Kind};
use serde_json::{Value, json};

use super::Error;
use super::output::{self, Format, amount, moment};
use crate::config::Config;
use crate::time;

/// Shows and makes databases of countries and autonomous systems (MMDB).
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Verifies databases, and says what they hold and how old they are.
    Info(InfoArgs),
    /// Makes a database from CSV: start_ip,end_ip or network, then country_code, or asn,name, or asn,country_code,name.
    Build(BuildArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct InfoArgs {
    /// MMDB files; none: those that the configuration names.
    files: Vec<PathBuf>,
    /// Configuration file; without it /etc/netd/netd.toml, if there is one.
    #[arg(long, value_name = "FILE", env = "NETD_CONFIG")]
    config: Option<PathBuf>,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Debug, clap::Args)]
struct BuildArgs {
    /// CSV, separated by commas or tabs, IPv4 and IPv6 together; a first line of names is optional.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The database, replaced in one step.
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    to: PathBuf,
    /// Takes only this from the rows; without it all they have.
    #[arg(long, value_enum)]
    kind: Option<KindName>,
    /// Build time written into the database, Unix time; without it the time at which the CSV file was last changed.
    /// The same rows and build time give the same bytes.
    #[arg(long, value_name = "SECONDS")]
    build_epoch: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum KindName {
    Country,
    Asn,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    match &args.action {
        Action::Info(args) => info(args, out),
        Action::Build(args) => build(args, out),
    }
}

fn info(args: &InfoArgs, out: &mut dyn Write) -> Result<(), Error> {
    let files = if args.files.is_empty() { configured(args.config.as_deref())? } else { args.files.clone() };
    let now_s = time::now().0 / 1_000_000_000;
    let mut infos = Vec::new();
    for file in &files {
        infos.push(Database::open(file)?.info().clone());
    }
    match args.output {
        Format::Table => infos.iter().try_for_each(|info| report(info, now_s, out))?,
        format @ (Format::Json | Format::Jsonl) => {
            let items: Vec<Value> = infos.iter().map(|info| object(info, now_s)).collect();
            output::json(out, format, &items)?;
        }
    }
    Ok(())
}

fn configured(path: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    let config = path.map_or_else(Config::read_default, Config::read)?;
    let paths = config.geoip.paths();
    let mut files: Vec<PathBuf> = [paths.country, paths.asn].into_iter().flatten().collect();
    files.dedup();
    match files.is_empty() {
        true => Err(anyhow!("the configuration names no database (geoip.country, geoip.asn); name a file").into()),
        false => Ok(files),
    }
}

fn object(info: &Info, now_s: u64) -> Value {
    json!({
        "path": info.path.display().to_string(),
        "type": info.database_type,
        "holds": info.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        "built": time::rfc3339(time::from_unix(info.build_epoch)),
        "age_s": info.age_s(now_s),
        "networks": info.networks,
        "nodes": info.nodes,
        "record_size": info.record_size,
        "ip_version": info.ip_version,
        "layout": info.layout.name(),
        "fields": info.fields,
        "bytes": info.bytes,
    })
}

fn report(info: &Info, now_s: u64, out: &mut dyn Write) -> io::Result<()> {
    let holds = |kind| match kind {
        Kind::Country => "countries",
        Kind::Asn => "autonomous systems",
    };
    let holds: Vec<_> = info.kinds.iter().copied().map(holds).collect();
    let built = json!(time::rfc3339(time::from_unix(info.build_epoch)));
    let days = info.age_s(now_s) / 86_400;
    let ip = if info.ip_version == 6 { "IPv4 and IPv6" } else { "IPv4 only" };
    writeln!(out, "{}", output::plain(&info.path.display().to_string()))?;
    writeln!(out, "  type      {}", info.database_type)?;
    writeln!(out, "  holds     {}", holds.join(", "))?;
    writeln!(out, "  built     {} UTC, {days} days ago", moment(&built))?;
    writeln!(out, "  networks  {}, {ip}", info.networks)?;
    writeln!(out, "  tree      {} nodes of two {}-bit records", info.nodes, info.record_size)?;
    writeln!(out, "  layout    {} ({})", info.layout.name(), info.fields.join(", "))?;
    writeln!(out, "  size      {} bytes", amount(&info.bytes.into()))
}

fn build(args: &BuildArgs, out: &mut dyn Write) -> Result<(), Error> {
    let build_epoch = args.build_epoch.map_or_else(|| changed(&args.from), Ok)?;
    let kind = args.kind.map(|kind| match kind {
        KindName::Country => Kind::Country,
        KindName::Asn => Kind::Asn,
    });
    let (built, info) = build::write(&args.from, &args.to, &Options { kind, build_epoch })?;
    writeln!(
        out,
        "{}: {} networks from {} rows, {} rows without data; {} bytes",
        args.to.display(),
        info.networks,
        built.rows,
        built.empty_rows,
        info.bytes
    )?;
    Ok(())
}

/// Returns when a file was last changed, Unix time in seconds.
fn changed(path: &Path) -> Result<u64, Error> {
    let failed = |source| Error::Input { path: path.display().to_string(), source };
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).map_err(failed)?;
    Ok(modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
