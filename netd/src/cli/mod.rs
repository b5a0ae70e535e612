//! The command line: one file a subcommand. All but `run`, `demo`, `replay`, `geoip` and
//! `config` are clients of the API.

mod allow;
mod audit;
mod block;
mod boot;
pub mod client;
mod completions;
mod config;
mod confirm;
mod demo;
mod doctor;
mod explain;
mod feeds;
mod findings;
mod flows;
mod geoip;
mod hunt;
mod kill_switch;
mod lists;
mod man;
mod observe;
mod output;
mod policy;
pub mod replay;
mod run;
mod shown;
mod status;
mod suppress;
mod token;
mod unblock;
mod unload;
mod verdicts;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde_json::Value;

use self::client::{Client, Server, escaped};
use self::output::Format;

/// Finds command-and-control beacons from inside the kernel, proves why, and cuts them where the packets pass.
#[derive(Debug, Parser)]
#[command(name = "netd", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Demo(demo::Args),
    Replay(replay::Args),
    Flows(flows::Args),
    Observe(observe::Args),
    Findings(findings::Args),
    Explain(explain::Args),
    Hunt(hunt::Args),
    Suppress(suppress::Args),
    Verdicts(verdicts::Args),
    Block(block::Args),
    Allow(allow::Args),
    Unblock(unblock::Args),
    Confirm(confirm::Args),
    Feeds(feeds::Args),
    Status(status::Args),
    Doctor(doctor::Args),
    Token(token::Args),
    Audit(audit::Args),
    KillSwitch(kill_switch::Args),
    Boot(boot::Args),
    Unload(unload::Args),
    Geoip(geoip::Args),
    Policy(policy::Args),
    Config(config::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Why a subcommand did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    #[error("cannot read {path}: {source}")]
    Input { path: String, source: io::Error },
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    #[error(transparent)]
    Audit(#[from] crate::store::audit::Error),
    #[error(transparent)]
    Geoip(#[from] netd_geoip::Error),
    #[error(transparent)]
    GeoipBuild(#[from] netd_geoip::build::Error),
    /// The daemon, or what works without one.
    #[error(transparent)]
    Own(#[from] anyhow::Error),
    #[error("{0}")]
    Usage(String),
}

/// How the API is reached. A token is taken from `NETD_TOKEN` alone: everybody on a host sees arguments.
#[derive(Clone, Debug, clap::Args)]
struct Reaching {
    /// Where netd's API is: unix:/path, http://host:port or https://host:port. Without it netd's unix socket, or where
    /// that cannot be opened http://127.0.0.1:9443.
    #[arg(long, env = "NETD_SERVER", value_name = "URL")]
    server: Option<Server>,
    /// PEM file of the authority by which an https server is trusted; without it this host's own netd's.
    #[arg(long, env = "NETD_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Prints the request as a curl command, and does not send it. Of several the first; what it needs to know is read.
    #[arg(long)]
    print_request: bool,
}

impl Reaching {
    fn client(&self) -> Result<Client, Error> {
        Ok(self.reader()?.printing(self.print_request))
    }

    /// Returns a client that sends even where requests are printed: for what a request needs to know.
    fn reader(&self) -> Result<Client, Error> {
        let server = self.server.clone().unwrap_or_else(Server::usual);
        Ok(Client::new(server)?.identified(std::env::var("NETD_TOKEN").ok(), self.ca.clone()))
    }
}

/// What every client subcommand takes.
#[derive(Clone, Debug, clap::Args)]
struct Asking {
    #[command(flatten)]
    reaching: Reaching,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Asking {
    fn client(&self) -> Result<Client, Error> {
        self.reaching.client()
    }

    fn reader(&self) -> Result<Client, Error> {
        self.reaching.reader()
    }
}

/// Runs a subcommand, and returns the exit status: 0 done, 1 failed, 2 wrong usage, others as it says.
pub fn run(cli: &Cli, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let done = match &cli.command {
        Command::Run(args) => run::run(args).map(|()| 0).map_err(Error::from),
        Command::Demo(args) => demo::run(args, out).map(|()| 0).map_err(Error::from),
        Command::Boot(args) => boot::run(args, out).map(|()| 0).map_err(Error::from),
        Command::Unload(args) => unload::run(args, out).map(|()| 0).map_err(Error::from),
        Command::Replay(args) => replay::run(args, out, err),
        Command::Flows(args) => flows::run(args, out).map(|()| 0),
        Command::Observe(args) => observe::run(args, out, err).map(|()| 0),
        Command::Findings(args) => findings::run(args, out).map(|()| 0),
        Command::Explain(args) => explain::run(args, out).map(|()| 0),
        Command::Hunt(args) => hunt::run(args, out).map(|()| 0),
        Command::Suppress(args) => suppress::run(args, out).map(|()| 0),
        Command::Verdicts(args) => verdicts::run(args, out).map(|()| 0),
        Command::Block(args) => block::run(args, out),
        Command::Allow(args) => allow::run(args, out).map(|()| 0),
        Command::Unblock(args) => unblock::run(args, out).map(|()| 0),
        Command::Confirm(args) => confirm::run(args, out).map(|()| 0),
        Command::Feeds(args) => feeds::run(args, out).map(|()| 0),
        Command::Status(args) => status::run(args, out).map(|()| 0),
        Command::Doctor(args) => doctor::run(args, out),
        Command::Token(args) => token::run(args, out).map(|()| 0),
        Command::Audit(args) => audit::run(args, out),
        Command::KillSwitch(args) => kill_switch::run(args, out).map(|()| 0),
        Command::Geoip(args) => geoip::run(args, out).map(|()| 0),
        Command::Policy(args) => policy::run(args, out),
        Command::Config(args) => config::run(args, out).map(|()| 0),
        Command::Completions(args) => completions::run(args, out).map(|()| 0),
        Command::Man(args) => man::run(args, out).map(|()| 0),
    };
    let done = match done {
        Err(Error::Client(client::Error::Printed { command })) => {
            writeln!(out, "{command}").map(|()| 0).map_err(Error::from)
        }
        other => other,
    };
    match done.and_then(|status| out.flush().map(|()| status).map_err(Error::from)) {
        Ok(status) => status,
        // Whoever read the output has enough of it.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            // There is nowhere else to say it.
            let _ = writeln!(err, "netd: {}", chain(&error));
            if matches!(error, Error::Usage(_)) { 2 } else { 1 }
        }
    }
}

/// Returns an error with all its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// Returns up to `limit` items of a list, however many pages that takes.
fn items(client: &Client, path: &str, query: &[(&str, Option<String>)], limit: usize) -> Result<Vec<Value>, Error> {
    let given =
        query.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", escaped(value))));
    let given: Vec<_> = given.collect();
    let (mut items, mut cursor) = (Vec::new(), None);
    while items.len() < limit {
        let mut query = given.clone();
        query.push(format!("limit={}", (limit - items.len()).min(1_000)));
        query.extend(cursor.take().map(|cursor: String| format!("cursor={}", escaped(&cursor))));
        let mut page = client.get(&format!("{path}?{}", query.join("&")))?;
        if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
            items.extend(more);
        }
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests;
