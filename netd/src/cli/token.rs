//! `netd token`: who may ask netd from elsewhere.

use std::io::Write;

use hyper::Method;
use serde_json::{Value, json};

use super::output::{self, Format, moment, plain, text};
use super::{Asking, Error, escaped};
use crate::store::tokens::Scope;

/// Makes, shows and revokes tokens, by which programs and people elsewhere ask netd's API.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Makes a token and shows it, this once.
    Create(Create),
    /// Shows the tokens, without their secrets.
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Revokes a token at once.
    Revoke {
        id: String,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Create {
    /// What it is for: shown in the list and told from others by.
    #[arg(long)]
    name: String,
    /// What it may do; can be given several times.
    #[arg(long, value_enum, required = true)]
    scope: Vec<Scope>,
    /// How long it is accepted, or never to let it not expire.
    #[arg(long, default_value = "90d")]
    ttl: String,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    match &args.action {
        Action::Create(create) => self::create(create, out),
        Action::List { asking } => list(asking, out),
        Action::Revoke { id, asking } => {
            let path = format!("/api/v1/tokens/{}", escaped(id));
            let gone = asking.client()?.send_json(Method::DELETE, &path, &Value::Null)?;
            match asking.output {
                Format::Table => {
                    writeln!(out, "token {} ({}) revoked", text(&gone["id"]), plain(&text(&gone["name"])))?
                }
                format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &gone)?,
            }
            Ok(())
        }
    }
}

fn create(create: &Create, out: &mut dyn Write) -> Result<(), Error> {
    let body = json!({"name": create.name, "scopes": create.scope, "ttl": create.ttl});
    let made = create.asking.client()?.send_json(Method::POST, "/api/v1/tokens", &body)?;
    match create.asking.output {
        Format::Table => {
            let until = if made["expires"].is_null() { "revoked".to_owned() } else { moment(&made["expires"]) };
            writeln!(out, "{}", text(&made["token"]))?;
            writeln!(out, "token {}, until {until}. It is not shown again.", text(&made["id"]))?;
        }
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &made)?,
    }
    Ok(())
}

fn list(asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let page = asking.client()?.get("/api/v1/tokens")?;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let head = ["ID", "NAME", "SCOPES", "CREATED (UTC)", "EXPIRES (UTC)", "LAST USED (UTC)"];
    Ok(output::items(out, asking.output, &items, &head, row)?)
}

fn row(item: &Value) -> Vec<String> {
    let scopes: Vec<String> = item["scopes"].as_array().into_iter().flatten().map(text).collect();
    let when = |field: &str| if item[field].is_null() { "never".to_owned() } else { moment(&item[field]) };
    vec![
        text(&item["id"]),
        plain(&text(&item["name"])),
        scopes.join(" "),
        when("created"),
        when("expires"),
        when("last_used"),
    ]
}
