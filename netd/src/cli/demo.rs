//! `netd demo`: a beacon found, explained, cut and let go again, live, in a laboratory of this machine's own.
//!
//! The laboratory is three network namespaces without a route to anywhere. The daemon is this very binary, its
//! programs run in the kernel, and what is claimed at the end was measured at the laboratory's ends, not asked of it.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use hyper::Method;
use netd_lab::{
    demo::{C2_PORT, Demo, Facts, TIMER},
    lab::{C2, IMPLANT},
    process::Process,
};
use serde_json::{Value, json};

use super::{
    client::{Client, Server},
    explain, replay,
    shown::Shown,
};
use crate::time;

/// Finds, explains and cuts a beacon in a laboratory of network namespaces. Needs root; without, replays a capture.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Seed of the traffic's randomness.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Longest time to wait for the finding, seconds.
    #[arg(long, default_value_t = 120)]
    pub patience: u64,
}

const POLICY: &str = include_str!("../../../policies/enforce.yaml");
/// What is replayed without root.
const CAPTURE: &[u8] = include_bytes!("../../../pcaps/beacon-tls.pcap");

/// Between two looks at the laboratory.
const LOOK: Duration = Duration::from_millis(200);
/// Traffic goes on after the cut for so long: several check-ins that must not arrive.
const AFTER: Duration = Duration::from_secs(10);
/// Longest time until a check-in is answered again once the verdict has been undone: the implant's TCP connection
/// attempts are further apart the longer they failed.
const UNDONE: Duration = Duration::from_secs(40);

/// Runs the demo.
///
/// # Errors
/// When the laboratory cannot be built, or netd does not do what the demo claims.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    if !netd_lab::namespace::is_root() {
        writeln!(out, "Network namespaces and kernel programs need root: run `sudo netd demo` to see it live.")?;
        writeln!(out, "Without root, a capture of the same kind of traffic is replayed through the same code.\n")?;
        return replay_instead(out);
    }
    let folder = Folder::new()?;
    writeln!(
        out,
        "A laboratory on this machine: lan (seven hosts) - gateway (netd) - wan (nine servers); no way out.\n\
         One host holds an implant: {IMPLANT} checks in with {C2}:{C2_PORT} about every {:.0} s, jitter 20 %.\n\
         The others browse, download and keep their clocks. netd is not told which is which.\n",
        TIMER.period.as_secs_f64()
    )?;
    let longest = Duration::from_secs(args.patience) + AFTER + Duration::from_secs(60);
    // The daemon first: it sees everything from the first packet on.
    let demo = Demo::start(args.seed, longest)?;
    let mut daemon = folder.start_daemon(&demo)?;
    let mut watch = Watch { started: Instant::now(), demo: &demo, folder: &folder, out };

    watch.until_ready(&mut daemon)?;
    let (finding, at_finding) = watch.until_found(args.patience)?;
    let cut = watch.until_cut(&finding)?;
    watch.line_end()?;
    let after = watch.after()?;
    watch.line_end()?;
    let explanation = watch.explain()?;
    let undone = watch.undo(&cut)?;
    watch.line_end()?;

    let status = daemon.terminate(Duration::from_secs(20)).context("the daemon did not end")?;
    let ended = demo.stop()?;
    let result = Outcome { finding, at_finding, cut, after, explanation, undone, ended };
    result.write(out)?;
    if !status.success() {
        bail!("the daemon ended with {status}");
    }
    result.check()
}

fn replay_instead(out: &mut dyn Write) -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let file = folder.0.join("beacon-tls.pcap");
    fs::write(&file, CAPTURE).with_context(|| format!("cannot write {}", file.display()))?;
    let args = replay::Args { files: vec![file], ..replay::Args::default() };
    match replay::run(&args, out, &mut io::stderr())? {
        0 => Ok(()),
        status => bail!("the replay ended with {status}"),
    }
}

/// A temporary folder with the daemon's files; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("netd-demo-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("api.sock")
    }

    fn start_daemon(&self, demo: &Demo) -> anyhow::Result<Process> {
        let policy = self.0.join("enforce.yaml");
        fs::write(&policy, POLICY).with_context(|| format!("cannot write {}", policy.display()))?;
        let config = self.0.join("netd.toml");
        // The cgroup tree is the machine's, and not of the laboratory: netd keeps out of it here.
        let text = format!(
            "mode = \"enforce\"\nstate_dir = {:?}\npolicy = {:?}\ncgroup = false\n[api]\nlisten = [\"unix:{}\"]\n[log]\nlevel = \"warn\"\n",
            self.0.join("state"),
            policy,
            self.socket().display()
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let log = fs::File::create(self.0.join("log")).context("cannot create the daemon's log")?;
        let netd = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(netd);
        command.arg("run").arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Process::start(demo.lab().watched(), &mut command)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Temporary anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the laboratory's ends and the daemon say while it runs.
struct Watch<'a> {
    started: Instant,
    demo: &'a Demo,
    folder: &'a Folder,
    out: &'a mut dyn Write,
}

/// The cut, as of its first sighting in the API.
struct Cut {
    seen: Facts,
    verdict: u64,
}

/// The verdict's release, as the laboratory's ends saw it.
struct Undone {
    /// Until a check-in was answered again.
    took: Duration,
}

impl Watch<'_> {
    fn until_ready(&mut self, daemon: &mut Process) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.ask("/readyz").is_err() {
            if let Some(status) = daemon.child().try_wait()? {
                bail!("the daemon ended with {status}:\n{}", self.folder.log());
            }
            if Instant::now() > deadline {
                bail!("the daemon is not ready after 20 s");
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn until_found(&mut self, patience: u64) -> anyhow::Result<(Shown, Facts)> {
        let deadline = self.started + Duration::from_secs(patience);
        let mut told = None;
        loop {
            let facts = self.look("waiting for evidence")?;
            let page = self.ask("/api/v1/findings")?;
            let found = items(&page)
                .find(|item| item["responder"] == C2.to_string() && item["originator"] == IMPLANT.to_string());
            if let Some(item) = found {
                let shown: Shown =
                    serde_json::from_value(item.clone()).context("the API's finding is not as expected")?;
                if told.as_ref() != Some(&shown.severity) {
                    self.line_end()?;
                    self.tell(&shown, &facts)?;
                    told = Some(shown.severity.clone());
                }
                if shown.block {
                    return Ok((shown, facts));
                }
            }
            if Instant::now() > deadline {
                bail!("no finding fit for a block within {patience} s and {} check-ins", facts.check_ins);
            }
        }
    }

    /// One line for a finding that is not yet fit for a block, all of one that is.
    fn tell(&mut self, shown: &Shown, facts: &Facts) -> anyhow::Result<()> {
        let seconds = self.started.elapsed().as_secs_f64();
        if !shown.block {
            writeln!(
                self.out,
                "{seconds:.1} s, {} check-ins: {} {}, {}, score {:.4}; not yet fit for a block",
                facts.check_ins, shown.severity, shown.detector, shown.title, shown.score
            )?;
            return Ok(());
        }
        writeln!(self.out, "{seconds:.1} s, {} check-ins: fit for a block\n", facts.check_ins)?;
        shown.write(self.out)?;
        writeln!(self.out)?;
        Ok(())
    }

    fn until_cut(&mut self, finding: &Shown) -> anyhow::Result<Cut> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.look("cutting")?;
            let page = self.ask("/api/v1/verdicts")?;
            let verdict = items(&page).find(|item| item["finding"] == finding.id);
            if let Some(verdict) = verdict {
                // The service lists a verdict once it is in the kernel; what passed before the facts were read again
                // passed before the cut was known, and is in the time to the last byte.
                return Ok(Cut { seen: self.demo.facts()?, verdict: verdict["id"].as_u64().unwrap_or_default() });
            }
            if Instant::now() > deadline {
                bail!("the finding led to no verdict within 10 s");
            }
        }
    }

    fn after(&mut self) -> anyhow::Result<Facts> {
        let deadline = Instant::now() + AFTER;
        let mut facts = self.look("cut; ordinary traffic goes on")?;
        while Instant::now() < deadline {
            facts = self.look("cut; ordinary traffic goes on")?;
        }
        Ok(facts)
    }

    /// Returns what `netd explain` says of the address that was cut.
    fn explain(&self) -> anyhow::Result<Vec<u8>> {
        let explanation = self.ask(&format!("/api/v1/explain?ip={C2}"))?;
        let mut text = Vec::new();
        explain::write(&C2.to_string(), explanation, &mut text)?;
        Ok(text)
    }

    /// Undoes the cut, as `netd unblock` does, and waits until a check-in is answered again.
    fn undo(&mut self, cut: &Cut) -> anyhow::Result<Undone> {
        let before = self.demo.facts()?;
        let released = self.client()?.send_json(Method::POST, "/api/v1/unblock", &json!({"address": C2}))?;
        let is_released = |verdict: &Value| verdict["id"].as_u64() == Some(cut.verdict);
        if !released["verdicts"].as_array().is_some_and(|verdicts| verdicts.iter().any(is_released)) {
            bail!("netd unblock {C2} did not release verdict {}", cut.verdict);
        }
        let began = Instant::now();
        loop {
            let facts = self.look("undone; waiting for the implant's next check-in")?;
            if facts.answered > before.answered {
                return Ok(Undone { took: began.elapsed() });
            }
            if began.elapsed() > UNDONE {
                bail!("no check-in was answered within {} s of the verdict's release", UNDONE.as_secs());
            }
        }
    }

    /// Waits a little and shows where things stand.
    fn look(&mut self, phase: &str) -> anyhow::Result<Facts> {
        std::thread::sleep(LOOK);
        let facts = self.demo.facts()?;
        if io::stdout().is_terminal() {
            write!(
                self.out,
                "\r{:5.1} s  {:3} check-ins tried, {:3} answered   {:6} other exchanges, {} failed   {phase}   ",
                self.started.elapsed().as_secs_f64(),
                facts.check_ins,
                facts.answered,
                facts.ordinary.exchanges,
                facts.ordinary.failed,
            )?;
            self.out.flush()?;
        }
        Ok(facts)
    }

    fn ask(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.client()?.get(path)?)
    }

    fn client(&self) -> anyhow::Result<Client> {
        // A unix socket is reachable across network namespaces.
        let server: Server = format!("unix:{}", self.folder.socket().display()).parse().map_err(anyhow::Error::msg)?;
        Ok(Client::new(server)?)
    }

    fn line_end(&mut self) -> anyhow::Result<()> {
        if io::stdout().is_terminal() {
            writeln!(self.out)?;
        }
        Ok(())
    }
}

/// What was measured, and what is claimed from it.
struct Outcome {
    finding: Shown,
    at_finding: Facts,
    cut: Cut,
    /// While the daemon still enforced: a check-in after its end arrives.
    after: Facts,
    /// What `netd explain` said while the verdict was in force.
    explanation: Vec<u8>,
    undone: Undone,
    /// After the generators were stopped.
    ended: Facts,
}

impl Outcome {
    /// Milliseconds from the finding to the last byte that reached the implant's server; negative if it came before.
    fn cut_after_ms(&self) -> f64 {
        let found = time::moment(&self.finding.time, time::now()).map_or(0, |time| time.0);
        (self.after.last_c2_byte_ns as f64 - found as f64) / 1e6
    }

    fn leaked_packets(&self) -> u64 {
        self.after.c2_packets.saturating_sub(self.cut.seen.c2_packets)
    }

    /// Whether the implant's server got a byte after the cut.
    fn leaked_bytes(&self) -> bool {
        self.after.c2_bytes != self.cut.seen.c2_bytes
    }

    fn write(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let found = time::moment(&self.finding.time, time::now())?;
        let first = time::moment(&self.finding.first_seen, time::now())?;
        let ordinary = &self.ended.ordinary;
        writeln!(out, "Measured at the laboratory's ends:")?;
        writeln!(
            out,
            "  check-ins to the finding           {} ({:.1} s)",
            self.at_finding.check_ins,
            found.secs_since(first)
        )?;
        writeln!(out, "  finding to the last passed byte    {:.1} ms", self.cut_after_ms())?;
        writeln!(
            out,
            "  check-ins tried after the cut      {}",
            self.after.check_ins.saturating_sub(self.cut.seen.check_ins)
        )?;
        writeln!(out, "  packets leaked after the cut       {}", self.leaked_packets())?;
        writeln!(
            out,
            "  ordinary exchanges                 {} answered, {} failed",
            ordinary.answered, ordinary.failed
        )?;
        writeln!(
            out,
            "  ordinary bytes                     {} sent, {} lost",
            ordinary.sent_bytes,
            ordinary.lost_bytes()
        )?;
        writeln!(out, "  verdict                            {} on {C2}:{C2_PORT}/tcp", self.cut.verdict)?;
        writeln!(
            out,
            "  verdict undone                     a check-in was answered {:.1} s later",
            self.undone.took.as_secs_f64()
        )?;
        writeln!(out, "The daemon unloaded itself and the laboratory is gone.")?;
        writeln!(out, "\nWhat `netd explain {C2}` said while the verdict was in force:\n")?;
        out.write_all(&self.explanation)?;
        writeln!(out, "\nOn a network of yours, one command undoes a block: sudo netd unblock {C2}")?;
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.leaked_packets() > 0 || self.leaked_bytes() {
            bail!("the implant's packets went on after the cut");
        }
        let ordinary = &self.ended.ordinary;
        if ordinary.failed > 0 || ordinary.lost_bytes() > 0 {
            bail!("ordinary traffic suffered");
        }
        if self.after.ordinary.answered <= self.cut.seen.ordinary.answered {
            bail!("ordinary traffic stood still after the cut");
        }
        Ok(())
    }
}

fn items(page: &Value) -> impl Iterator<Item = &Value> {
    page["items"].as_array().into_iter().flatten()
}
