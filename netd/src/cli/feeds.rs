//! `netd feeds`: the lists that are fetched; and keys and signatures for whoever publishes one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hyper::Method;
use serde_json::Value;

use super::client::escaped;
use super::output::{self, Format, moment, plain, text};
use super::{Asking, Error};
use crate::feeds::envelope;
use crate::time;
use crate::verdicts::blocklist::ListName;

/// Shows and updates the lists that are fetched; signs lists for others to fetch.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Shows the feeds and how each stands.
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Fetches a feed now.
    Update {
        name: String,
        /// Takes a list that grew or shrank by more than it may.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Makes a key pair: writes the private key, prints the public one.
    Keygen {
        /// Where the private key is written; it must not exist.
        private: PathBuf,
    },
    /// Signs a list: writes it with a first line that says what it is.
    Sign(Sign),
}

#[derive(Clone, Debug, clap::Args)]
struct Sign {
    /// The list.
    file: PathBuf,
    /// The private key that keygen wrote.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The feed's name, as its users configure it.
    #[arg(long, value_name = "NAME")]
    name: ListName,
    /// A number that grows with each list; without it the present Unix time.
    #[arg(long, value_name = "N")]
    serial: Option<u64>,
    /// How long the list may be used.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    expires: String,
    /// Where the signed list is written; without it to standard output.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    match &args.action {
        Action::List { asking } => list(asking, out),
        Action::Update { name, force, asking } => update(name, *force, asking, out),
        Action::Keygen { private } => Ok(keygen(private, out)?),
        Action::Sign(args) => Ok(sign(args, out)?),
    }
}

fn list(asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let mut answer = asking.client()?.get("/api/v1/feeds")?;
    let feeds: Vec<Value> = serde_json::from_value(answer["items"].take()).unwrap_or_default();
    let head = ["NAME", "ACTION", "ENTRIES", "PRESENT AT (UTC)", "FAILURE", "URL"];
    Ok(output::items(out, asking.output, &feeds, &head, row)?)
}

fn row(feed: &Value) -> Vec<String> {
    let present = if feed["last_success"].is_null() { "never".to_owned() } else { moment(&feed["last_success"]) };
    let failure = feed["failure"]["reason"].as_str().unwrap_or("").to_owned();
    vec![
        text(&feed["name"]),
        text(&feed["action"]),
        text(&feed["entries"]),
        present,
        failure,
        plain(&text(&feed["url"])),
    ]
}

fn update(name: &str, force: bool, asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let path = format!("/api/v1/feeds/{}:update?force={force}", escaped(name));
    let feed = asking.client()?.send(Method::POST, &path, None, Vec::new())?;
    if asking.output != Format::Table {
        return Ok(output::json_object(out, asking.output, &feed)?);
    }
    match feed["failure"]["detail"].as_str() {
        None => Ok(writeln!(out, "feed {name} has {} entries", text(&feed["entries"]))?),
        Some(why) => Err(anyhow::anyhow!("feed {name} stays as it was: {}", plain(why)).into()),
    }
}

fn keygen(private: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let (key, public) = envelope::generate().ok().context("the system gives no randomness")?;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(private);
    file.and_then(|mut file| file.write_all(&key)).with_context(|| format!("cannot write {}", private.display()))?;
    writeln!(out, "{public}")?;
    Ok(())
}

fn sign(args: &Sign, out: &mut dyn Write) -> anyhow::Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (content, key) = (read(&args.file)?, read(&args.key)?);
    let now = time::now();
    let expires = time::duration(&args.expires).context("--expires")?;
    let serial = args.serial.unwrap_or(now.0 / 1_000_000_000);
    let times = (now, now.plus_secs(expires.as_secs_f64()));
    let sealed = envelope::seal(&content, args.name.as_str(), serial, times, &key);
    let sealed =
        sealed.ok().with_context(|| format!("{} is no private key of netd feeds keygen", args.key.display()))?;
    match &args.to {
        Some(path) => {
            // Whoever fetches it meanwhile must not see half of it.
            let temporary = path.with_extension("tmp");
            let written = fs::write(&temporary, &sealed).and_then(|()| fs::rename(&temporary, path));
            written.with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => out.write_all(&sealed)?,
    }
    Ok(())
}
