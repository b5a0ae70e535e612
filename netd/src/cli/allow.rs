//! `netd allow`: what passes whatever is listed or decided.

use std::io::Write;

use serde_json::Value;

use super::lists::{self, Kind, Making};
use super::output::{self, moment, text};
use super::{Asking, Error};

/// The list that is meant unless another is named.
const USUAL: &str = "operator";

/// Allows addresses, prefixes and names: they pass whatever is listed or decided.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Adds an address, a prefix or a name to an allow-list.
    Add(Add),
    /// Removes an entry, or a whole list: what it held is blocked again wherever it is listed.
    Remove(Remove),
    /// Replaces an allow-list by a file, in any of the formats of feeds.
    Import(Import),
    /// Shows the allow-lists, or the single entries of one.
    List(List),
}

#[derive(Clone, Debug, clap::Args)]
struct Add {
    /// An address, a prefix, a name, *.name (all below it) or .name (both).
    value: String,
    #[arg(long, value_name = "NAME", default_value = USUAL)]
    list: String,
    /// How long: a duration like 1h; without it until it is removed.
    #[arg(long)]
    ttl: Option<String>,
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Debug, clap::Args)]
struct Remove {
    /// The entry; without it the whole list.
    value: Option<String>,
    #[arg(long, value_name = "NAME", required_unless_present = "value")]
    list: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Debug, clap::Args)]
struct Import {
    /// The file; - is standard input.
    file: String,
    /// The list's name: a-z, 0-9 and -.
    #[arg(long, value_name = "NAME")]
    list: String,
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Debug, clap::Args)]
struct List {
    /// The list whose single entries are shown.
    list: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    match &args.action {
        Action::Add(add) => {
            let entry = lists::entry(&add.value, add.ttl.as_ref(), &add.reason);
            lists::add(Kind::Allow, &add.list, &entry, &add.making, &add.asking, out)
        }
        Action::Remove(Remove { value: Some(value), list, asking }) => {
            lists::remove(Kind::Allow, list.as_deref().unwrap_or(USUAL), value, asking, out)
        }
        Action::Remove(Remove { value: None, list, asking }) => {
            lists::remove_list(Kind::Allow, list.as_deref().unwrap_or(USUAL), asking, out)
        }
        Action::Import(Import { file, list, making, asking }) => {
            lists::import(Kind::Allow, file, list, &making.query(), asking, out)
        }
        Action::List(List { list: Some(list), asking }) => lists::entries(Kind::Allow, list, asking, out),
        Action::List(List { list: None, asking }) => self::list(asking, out),
    }
}

fn list(asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let mut answer = asking.client()?.get(Kind::Allow.path())?;
    let lists: Vec<Value> = serde_json::from_value(answer["items"].take()).unwrap_or_default();
    let row = |list: &Value| {
        let counts = ["entries_v4", "entries_v6", "names"].map(|count| text(&list[count]));
        std::iter::once(text(&list["name"])).chain(counts).chain([moment(&list["updated"])]).collect()
    };
    let head = ["NAME", "IPV4", "IPV6", "NAMES", "UPDATED (UTC)"];
    Ok(output::items(out, asking.output, &lists, &head, row)?)
}
