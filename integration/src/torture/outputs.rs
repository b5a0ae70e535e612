//! Faults done to what netd tells.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Outcome, Row, Setting};
use crate::daemon::{Daemon, Setup};
use crate::lab::{IMPLANT, Lab, NOWHERE};
use crate::traffic::flood::{FlowFlood, Pace};

/// The rows of this room.
pub(super) const ROWS: &[Row] =
    &[Row { id: "T70", fault: "metric label explosion", goal: "< 2000 series, none by address", play: labels }];

const MOST: usize = 2_000;

/// As many lists and sinks as there can be, verdicts, and a flood of conversations between ever new addresses.
fn labels(setting: Setting) -> Result<Outcome> {
    let lab = Lab::gateway()?;
    let sinks: String = (0..16)
        .map(|number| format!("[[sink]]\ntype = \"file\"\nname = \"s{number}\"\npath = \"{{folder}}/s{number}\"\n"))
        .collect();
    // The key belongs to the table of limits, which is the last one.
    let tables = format!("blocklists = 256\n{sinks}");
    let daemon = Daemon::start(&lab, Setup { tables: &tables, ..Setup::default() })?;
    let api = daemon.api();
    let mut lists = 0;
    loop {
        let path = format!("/api/v1/blocklists/list-{lists}");
        if api.send("PUT", &path, "text/plain", "198.18.0.1\n2001:db8::1\n")?.status >= 300 {
            break;
        }
        lists += 1;
        ensure!(lists <= 1_000, "there is no end to lists");
    }
    for last in 0..setting.amount(200_u8, 50) {
        api.block(&json!({"target": {"address": Ipv4Addr::new(198, 19, 0, last)}}))?;
    }
    let flows = setting.amount(60_000, 6_000);
    let (from, to) = (IpAddr::from(IMPLANT), IpAddr::from(NOWHERE));
    let pace = Pace::count(flows, Duration::from_secs(60));
    FlowFlood { hop: lab.first_hop(), from, to, first: 0, flows, pace }.start(lab.lan())?.join()?;

    let text = api.send("GET", "/metrics", "", "")?.body;

    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let values =
        series.iter().filter_map(|line| line.split_once('{')).flat_map(|(_, rest)| rest.split('"').skip(1).step_by(2));
    let values: BTreeSet<&str> = values.collect();
    let addresses = values.iter().filter(|value| value.parse::<IpAddr>().is_ok()).count();
    let named = values.iter().copied().filter(|value| value.starts_with("list-")).count();
    ensure!(named == lists, "{named} of {lists} lists are told of");
    let families = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    let eof = text.lines().last().context("no metrics")?;
    Ok(Outcome {
        measured: format!(
            "{} series of {families} names with {lists} lists, 16 sinks, {flows} flows; {addresses} labels are \
             addresses",
            series.len()
        ),
        holds: series.len() < MOST && addresses == 0 && eof == "# EOF",
    })
}
