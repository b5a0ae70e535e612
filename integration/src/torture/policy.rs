//! Faults of policies and of the hooks that act on them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Outcome, Row, Setting};
use crate::daemon::{Daemon, Setup};
use crate::lab::Lab;

pub(super) const ROWS: &[Row] = &[
    Row { id: "T71", fault: "a bad policy on reload", goal: "100 % refused, old kept, diff shown", play: bad_policies },
    Row {
        id: "T71b",
        fault: "SIGKILL while policies are put through the API",
        goal: "what was answered is in force after the restart, and none is half",
        play: kept_policies,
    },
    Row { id: "T81", fault: "every hook asked to deny", goal: "0 silent no-ops", play: hooks },
];

/// How long a reload may take.
const PATIENCE: Duration = Duration::from_secs(20);

const POLICY: &str = "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {name: kept}\nspec:\n  mode: observe\n  \
                      ttl: 1h\n  block_at: {beacon: 0.99}\n  except: {ports: [53]}\n";

/// What is wrong: a piece of the good policy, and what stands in its place.
const FLAWS: &[(&str, &str)] = &[
    ("netd/v1", "netd/v2"),
    ("ResponsePolicy", "Policy"),
    ("{name: kept}", "{name: ''}"),
    ("{name: kept}", "{name: a/b}"),
    ("{name: kept}", "{}"),
    ("{name: kept}", "{name: kept"),
    ("spec:", "spec: &a\n  <<: *a"),
    ("spec:", "spek:"),
    ("  mode: observe\n", "\tmode: observe\n"),
    ("observe", "enforced"),
    ("observe", "canary"),
    ("observe", "canary\n  canary: {share: 200%}"),
    ("observe", "observe\n  mode: enforce"),
    ("observe", "[observe]"),
    ("ttl: 1h", "ttl: 1"),
    ("ttl: 1h", "ttl: -1h"),
    ("ttl: 1h", "tll: 1h"),
    ("0.99", "99"),
    ("0.99", ".nan"),
    ("beacon", "beacn"),
    ("[53]", "[70000]"),
    ("[53]", "53"),
    ("ports", "port"),
    ("{ports: [53]}", "{destinations: [10.0.0.1/8]}"),
    ("{ports: [53]}", "{countries: [Holland]}"),
    ("{ports: [53]}", "{names: ['']}"),
    ("except:", "respond: {bind_shell: {from: high, do: [shoot]}}\n  except:"),
    ("except:", "action: throttle\n  throttle: {bytes_per_second: 0}\n  except:"),
    ("except:", "max_blocks_per_hour: -1\n  except:"),
    ("apiVersion", "\u{0}apiVersion"),
];

fn bad_policies(setting: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let daemon = Daemon::start(&lab, Setup { mode: "observe", policy: Some(POLICY), ..Setup::default() })?;
    let api = daemon.api();
    let kept = api.get("/api/v1/policies")?["items"].clone();
    let write = |text: &str| fs::write(daemon.path("policy.yaml"), text).context("cannot write the policy");
    let asked = setting.amount(FLAWS.len(), 8.min(FLAWS.len()));
    let (mut tried, mut refused) = (0, 0);
    let step = FLAWS.len() / asked;
    for (old, new) in FLAWS.iter().step_by(step) {
        ensure!(POLICY.contains(old), "{old} is none of the policy's words");
        write(&POLICY.replacen(old, new, 1))?;
        let answer = api.send("POST", "/api/v1/config:reload", "application/json", "")?;
        let names_place = answer.body.contains("policy.yaml:") && answer.body.contains("error:");
        tried += 1;
        refused += u32::from(answer.status == 422 && names_place && api.get("/api/v1/policies")?["items"] == kept);
    }
    // Files that are no text, too long, or gone.
    for bytes in [vec![0xff; 64], vec![b'#'; 2 << 20], b"[".repeat(10_000), Vec::new()] {
        fs::write(daemon.path("policy.yaml"), bytes)?;
        tried += 1;
        let answer = api.send("POST", "/api/v1/config:reload", "application/json", "")?;
        refused += u32::from(answer.status == 422 && api.get("/api/v1/policies")?["items"] == kept);
    }
    // The other ways lead to the same reader.
    write(&POLICY.replace("observe", "enforced"))?;
    wait(&daemon, "file", |reload| reload["faults"][0]["line"] == 5)?;
    daemon.signal(Signal::SIGHUP)?;
    wait(&daemon, "signal", |reload| reload["faults"][0]["line"] == 5)?;
    ensure!(api.get("/api/v1/policies")?["items"] == kept, "a bad policy took the old one's place");
    write(&POLICY.replace("observe", "shadow"))?;
    let reload = wait(&daemon, "file", |reload| reload["faults"].as_array().is_some_and(Vec::is_empty))?;
    let is_shown = reload["difference"]["changed"][0]["field"] == "spec.mode";
    let measured = format!(
        "{refused} of {tried} refused with file, line, column and the old kept, by API; by SIGHUP and file watch likewise; \
         difference shown: {is_shown}"
    );
    Ok(Outcome { measured, holds: refused == tried && is_shown })
}

fn kept_policies(setting: Setting) -> Result<Outcome> {
    const ANSWERED: u64 = 20;
    let lab = Lab::host()?;
    let mut daemon = Daemon::start(&lab, Setup { mode: "observe", ..Setup::default() })?;
    let (rounds, mut kept, mut answered) = (setting.amount(20, 2), 0, 0);
    for _ in 0..rounds {
        let (api, first) = (daemon.api(), answered + 1);
        let last = Arc::new(AtomicU64::new(answered));
        let told = Arc::clone(&last);
        // Puts one after the other until nobody answers.
        let writer = std::thread::spawn(move || {
            for number in first.. {
                let text = POLICY.replace("ttl: 1h", &format!("ttl: {number}m"));
                match api.send("PUT", "/api/v1/policies/kept", "application/yaml", &text).and_then(|put| put.accepted())
                {
                    Ok(_) => told.store(number, Ordering::Relaxed),
                    Err(_) => return,
                }
            }
        });
        let deadline = Instant::now() + PATIENCE;
        while last.load(Ordering::Relaxed) < answered + ANSWERED {
            ensure!(Instant::now() < deadline, "no policy is taken: {}", daemon.log());
            std::thread::sleep(Duration::from_millis(1));
        }
        daemon.kill()?;
        ensure!(writer.join().is_ok(), "the writer panicked");
        answered = last.load(Ordering::Relaxed);
        daemon.again(&[])?;
        let policy = daemon.api().get("/api/v1/policies/kept")?;
        // The one after the last answer may have been kept already.
        let is_there =
            |number: u64| policy["text"].as_str().is_some_and(|text| text.contains(&format!("ttl: {number}m\n")));
        let found = [answered, answered + 1].into_iter().find(|number| is_there(*number));
        kept += u32::from(found.is_some() && policy["origin"]["kind"] == "api");
        answered = found.unwrap_or(answered + 1);
    }
    let measured = format!("{kept} of {rounds} restarts with the last of {answered} policies in force");
    Ok(Outcome { measured, holds: kept == rounds })
}

/// Waits for a reload that was asked for in this way and came out as wanted.
fn wait(daemon: &Daemon, by: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reload = daemon.api().get("/api/v1/policies")?["reload"].clone();
        if reload["by"] == by && wanted(&reload) {
            return Ok(reload);
        }
        ensure!(Instant::now() < deadline, "no reload by {by} came out as wanted: {reload}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn hooks(_: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let daemon = Daemon::start(&lab, Setup { cgroup: true, ..Setup::default() })?;
    let status = daemon.api().get("/api/v1/status")?;
    let hooks = status["hooks"].as_array().context("status names no hooks")?;
    let named = |denies: bool| {
        let names = hooks.iter().filter(|hook| hook["denies"] == denies).filter_map(|hook| hook["hook"].as_str());
        names.collect::<Vec<_>>()
    };
    let (denying, silent) = (named(true), named(false));
    let wanted = ["tc_ingress", "tc_egress", "tc_ingress_l3", "tc_egress_l3", "xdp_ingress", "connect4", "sendmsg4"];
    let missing: Vec<_> = wanted.iter().filter(|name| !denying.contains(name)).collect();
    // A hook that is silent is no secret: what is in effect says so, with the reason.
    let is_told = silent.is_empty() || status["mode"]["effective"] == "observe" && status["mode"]["reason"].is_string();
    let left = daemon.api().items("/api/v1/verdicts")?.len();
    let measured = format!(
        "{} of {} hooks proved to deny ({}); silent: {silent:?}; missing: {missing:?}; effective mode {}; verdicts left: {left}",
        denying.len(),
        hooks.len(),
        denying.join(", "),
        status["mode"]["effective"],
    );
    Ok(Outcome { measured, holds: missing.is_empty() && silent.is_empty() && is_told && left == 0 })
}
