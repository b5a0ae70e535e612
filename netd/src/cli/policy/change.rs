//! `netd policy put` and `netd policy remove`: policies that the running netd keeps itself.

use std::fs::File;
use std::io::{self, Read as _, Write};

use hyper::Method;
use serde_json::Value;

use super::super::client::escaped;
use super::super::output::{self, Format, plain, text};
use super::super::{Asking, Error};

/// More than the daemon takes of one policy: its answer says what is too much.
const MOST: u64 = 1 << 20;

/// Puts a policy in force beside the operator's files, or in the place of one that was put.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Put {
    /// The policy's name, as its file states it.
    name: String,
    /// The file; - is standard input.
    #[arg(default_value = "-")]
    file: String,
    #[command(flatten)]
    making: Making,
}

/// Takes a policy that was put out of force.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Remove {
    /// The policy's name.
    name: String,
    #[command(flatten)]
    making: Making,
}

#[derive(Clone, Debug, clap::Args)]
struct Making {
    /// Says what would change, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn put(args: &Put, out: &mut dyn Write) -> Result<(), Error> {
    let text = read(&args.file).map_err(|source| Error::Input { path: args.file.clone(), source })?;
    send(Method::PUT, &args.name, Some("application/yaml"), text, &args.making, out)
}

pub(super) fn remove(args: &Remove, out: &mut dyn Write) -> Result<(), Error> {
    send(Method::DELETE, &args.name, None, Vec::new(), &args.making, out)
}

fn send(
    method: Method,
    name: &str,
    content_type: Option<&str>,
    body: Vec<u8>,
    Making { dry_run, asking }: &Making,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let path = format!("/api/v1/policies/{}?dry_run={dry_run}", escaped(name));
    let change = asking.client()?.send(method, &path, content_type, body)?;
    match asking.output {
        Format::Table => show(&change, out),
        format @ (Format::Json | Format::Jsonl) => Ok(output::json_object(out, format, &change)?),
    }
}

fn show(change: &Value, out: &mut dyn Write) -> Result<(), Error> {
    let would = if change["dry_run"] == true { "would be " } else { "" };
    let difference = &change["difference"];
    let each = |list: &'static str| difference[list].as_array().into_iter().flatten();
    for (list, what) in [("added", "added"), ("removed", "removed")] {
        each(list).try_for_each(|policy| writeln!(out, "policy {} {would}{what}", text(policy)))?;
    }
    for field in each("changed") {
        let [policy, name, old, new] = ["policy", "field", "old", "new"].map(|part| plain(&text(&field[part])));
        writeln!(out, "policy {policy}: {name} {would}{new}, was {old}")?;
    }
    if change["changed"] != true {
        writeln!(out, "policy {} is as it was", text(&change["name"]))?;
    }
    for warning in change["warnings"].as_array().into_iter().flatten() {
        writeln!(out, "warning: {}", plain(&text(warning)))?;
    }
    Ok(())
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match file {
        "-" => io::stdin().lock().take(MOST).read_to_end(&mut text)?,
        file => File::open(file)?.take(MOST).read_to_end(&mut text)?,
    };
    Ok(text)
}
