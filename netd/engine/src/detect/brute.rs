//! Brute force: logins tried one after the other, by the shape of their connections alone.
//!
//! A login that fails ends soon and carries little: handshake, credentials, refusal. Many alike say guessing; logins on
//! a schedule, or with a session behind them, say work.

use netd_common::key::Address;
use serde::Deserialize;

use super::{Context, Detector, Evidence};
use crate::attack::Technique;
use crate::pool::{Pool, Worth};
use crate::score::Ledger;
use crate::stats;
use crate::weights::Term;

/// Sources and services remembered at once, about 400 bytes each.
const LIMIT: usize = 8_192;
/// Logins remembered of one source and service.
const RECENT: usize = 16;

/// Thresholds: see `weights.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub least_logins: u32,
    pub most_logins: u32,
    pub alike: f64,
    pub longest_s: f64,
    pub quiet_s: f64,
    pub rate_per_minute: f64,
    pub delay_s: f64,
    pub schedule_jitter: f64,
    pub schedule_s: f64,
    pub spray_hosts: u32,
}

/// A service that asks for credentials, and the payload bytes of a login that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// From the client and from the server at most.
    most: [u64; 2],
}

/// Returns the service at home on a TCP port. Limits are those of a handshake and a few refusals; what succeeds goes on.
const fn service(port: u16) -> Option<Service> {
    let (name, most) = match port {
        21 => ("FTP", [400, 1_200]),
        22 | 2_222 => ("SSH", [6_000, 6_000]),
        23 | 2_323 => ("telnet", [800, 2_400]),
        110 => ("POP3", [400, 800]),
        143 => ("IMAP", [500, 1_200]),
        465 | 587 => ("SMTP", [2_400, 8_000]),
        993 | 995 => ("mail over TLS", [2_400, 8_000]),
        445 => ("SMB", [1_300, 1_300]),
        1_433 => ("SQL Server", [1_200, 1_200]),
        3_306 => ("MySQL", [300, 300]),
        3_389 => ("RDP", [4_000, 4_000]),
        5_432 => ("PostgreSQL", [300, 250]),
        5_900 => ("VNC", [120, 160]),
        _ => return None,
    };
    Some(Service { name, most })
}

/// One connection to a service, as it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login {
    pub(crate) originator: Address,
    pub(crate) responder: Address,
    pub(crate) port: u16,
    /// Payload of the originator and of the responder.
    pub(crate) payload: [u64; 2],
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

/// Logins of one source at one service.
#[derive(Clone, Debug)]
pub(crate) struct Guessing {
    pub(crate) service: Service,
    /// Of the last logins: bytes from the server, seconds they took, seconds since the one before began.
    answers: [f32; RECENT],
    durations: [f32; RECENT],
    gaps: [f32; RECENT],
    /// Logins in a row that look alike, and all of them.
    pub(crate) alike: u32,
    pub(crate) tried: u32,
    /// Sketch of the hosts.
    hosts: u64,
    first_ns: u64,
    last_ns: u64,
    judged: u32,
}

impl Worth for Guessing {
    fn worth(&self) -> (f32, u64) {
        (self.alike as f32, self.last_ns)
    }
}

#[derive(Debug)]
pub(crate) struct Guesses {
    pool: Pool<(Address, u16), Guessing>,
}

impl Guesses {
    pub(crate) fn new() -> Self {
        Self { pool: Pool::new(LIMIT) }
    }

    /// Takes a connection that ended into account; returns what its source does, where that is worth judging.
    pub(crate) fn observe(&mut self, login: &Login, thresholds: &Thresholds) -> Option<Guessing> {
        let service = service(login.port)?;
        let took_s = login.last_ns.saturating_sub(login.first_ns) as f64 / 1e9;
        let is_short = took_s <= thresholds.longest_s && (0..2).all(|end| login.payload[end] <= service.most[end]);
        let spoke = login.payload[0] > 0 && login.payload[1] > 0;
        let key = (login.originator, login.port);
        if !is_short || !spoke {
            // Work behind a login: half of what looked like guessing was not.
            if let Some(guessing) = self.pool.get_mut(&key).filter(|_| spoke) {
                guessing.alike /= 2;
            }
            return None;
        }
        let guessing = self.pool.get_or_insert_with(key, || Guessing::new(service, login.first_ns))?;
        let quiet_s = login.first_ns.saturating_sub(guessing.last_ns) as f64 / 1e9;
        if quiet_s > thresholds.quiet_s {
            *guessing = Guessing::new(service, login.first_ns);
        }
        guessing.add(login, took_s as f32, thresholds);
        let is_due = guessing.alike >= thresholds.least_logins && guessing.alike > guessing.judged;
        if !is_due {
            return None;
        }
        // What goes on for hours is looked at ever more rarely.
        guessing.judged = guessing.alike.saturating_add(guessing.alike / 8);
        Some(guessing.clone())
    }
}

impl Guessing {
    fn new(service: Service, at_ns: u64) -> Self {
        Self {
            service,
            answers: [0.0; RECENT],
            durations: [0.0; RECENT],
            gaps: [0.0; RECENT],
            alike: 0,
            tried: 0,
            hosts: 0,
            first_ns: at_ns,
            last_ns: at_ns,
            judged: 0,
        }
    }

    fn add(&mut self, login: &Login, took_s: f32, thresholds: &Thresholds) {
        let answer = login.payload[1] as f32;
        let usual = self.median(&self.answers);
        let is_alike = self.tried == 0 || (answer - usual).abs() <= thresholds.alike as f32 * usual + 16.0;
        self.alike = if is_alike { self.alike.saturating_add(1) } else { self.alike / 2 };
        let slot = self.tried as usize % RECENT;
        (self.answers[slot], self.durations[slot]) = (answer, took_s);
        self.gaps[slot] = login.first_ns.saturating_sub(self.last_ns) as f32 * 1e-9;
        self.tried = self.tried.saturating_add(1);
        self.last_ns = self.last_ns.max(login.first_ns);
        let (high, low) = login.responder.words();
        self.hosts |= 1 << ((high ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58);
    }

    fn held(&self) -> usize {
        (self.tried as usize).min(RECENT)
    }

    fn median(&self, of: &[f32; RECENT]) -> f32 {
        let mut scratch = *of;
        stats::median(&mut scratch[..self.held()]).unwrap_or(0.0)
    }

    /// Returns the median and the relative spread of the gaps between logins.
    fn rhythm(&self) -> (f32, f32) {
        let mut scratch = self.gaps;
        let gaps = &mut scratch[..self.held()];
        let median = stats::median(gaps).unwrap_or(0.0);
        let spread = stats::mad(gaps, median).unwrap_or(0.0);
        (median, spread * stats::MAD_TO_SD / median.max(1e-3))
    }

    fn per_minute(&self) -> f64 {
        let span_s = self.last_ns.saturating_sub(self.first_ns) as f64 / 1e9;
        60.0 * f64::from(self.tried.saturating_sub(1)) / span_s.max(1.0)
    }
}

/// A source that tries logins.
pub(crate) struct Guess {
    pub(crate) guessing: Guessing,
    pub(crate) is_inbound: bool,
}

impl Evidence for Guess {
    fn detector(&self) -> Detector {
        Detector::BruteForce
    }

    fn weigh(&self, _context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let thresholds = ledger.weights().brute_force;
        let Guessing { alike, tried, service, .. } = self.guessing;
        let value = || format!("{alike} of {tried} {} connections in a row are short and alike", service.name);
        ledger.add_times(Term::LoginsAlike, f64::from(alike.min(thresholds.most_logins)), value);
        let rate = self.guessing.per_minute();
        if rate >= thresholds.rate_per_minute {
            ledger.add(Term::LoginRate, || format!("{rate:.0} logins a minute"));
        }
        let delay_s = f64::from(self.guessing.median(&self.guessing.durations));
        if delay_s >= thresholds.delay_s {
            let value = || format!("{delay_s:.1} s for so little: servers delay their refusals");
            ledger.add(Term::LoginDelay, value);
        }
        let hosts = self.guessing.hosts.count_ones();
        if hosts >= thresholds.spray_hosts {
            ledger.add(Term::LoginSpray, || format!("at least {hosts} hosts"));
        }
        let (gap_s, jitter) = self.guessing.rhythm();
        if f64::from(gap_s) >= thresholds.schedule_s && f64::from(jitter) <= thresholds.schedule_jitter {
            ledger.add(Term::LoginSchedule, || format!("one every {gap_s:.0} s, as monitoring and jobs log in"));
        }
        if self.is_inbound {
            ledger.add(Term::LoginInbound, || "strangers try every server on the internet".to_owned());
        }
    }

    fn title(&self, context: &Context<'_>) -> String {
        let Guessing { tried, service, .. } = self.guessing;
        let (source, port) = (context.pair.originator, context.pair.responder_port);
        match self.guessing.hosts.count_ones() {
            1 => format!(
                "{source} guesses {} logins of {} port {port}: {tried} tries",
                service.name, context.pair.responder
            ),
            hosts => {
                format!("{source} guesses {} logins of about {hosts} hosts, port {port}: {tried} tries", service.name)
            }
        }
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        if self.guessing.hosts.count_ones() > 1 {
            vec![Technique::PasswordSpraying]
        } else {
            vec![Technique::PasswordGuessing]
        }
    }

    fn is_two_way(&self) -> bool {
        true
    }

    fn considered(&self, _context: &Context<'_>) -> Vec<String> {
        let (gap_s, jitter) = self.guessing.rhythm();
        vec![
            format!("scheduled logins: gaps of {gap_s:.0} s vary by {:.0} %", 100.0 * jitter),
            "work behind logins: none of the last connections carried more".to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;

    const SECOND: u64 = 1_000_000_000;

    fn login(at_s: u64, payload: [u64; 2]) -> Login {
        Login {
            originator: Address::v4([10, 0, 0, 7]),
            responder: Address::v4([10, 0, 0, 9]),
            port: 22,
            payload,
            first_ns: at_s * SECOND,
            last_ns: (at_s + 3) * SECOND,
        }
    }

    #[test]
    fn alike_logins_add_up() {
        let (thresholds, mut guesses) = (Weights::default().brute_force, Guesses::new());

        let found =
            (1..20).map(|n| guesses.observe(&login(5 * n, [2_581, 2_336]), &thresholds)).position(|g| g.is_some());

        assert_eq!(found, Some(thresholds.least_logins as usize - 1));
    }

    #[test]
    fn sessions_with_work_behind_them_take_it_back() {
        let (thresholds, mut guesses) = (Weights::default().brute_force, Guesses::new());
        for n in 1..200 {
            let payload = if n % 2 == 0 { [2_581, 2_336] } else { [40_000, 9_000] };
            assert!(guesses.observe(&login(5 * n, payload), &thresholds).is_none());
        }
    }

    #[test]
    fn a_flood_of_sources_does_not_grow_the_memory() {
        let (thresholds, mut guesses) = (Weights::default().brute_force, Guesses::new());
        for n in 0..50_000_u32 {
            guesses
                .observe(&Login { originator: Address::v4(n.to_be_bytes()), ..login(1, [2_000, 2_000]) }, &thresholds);
        }

        assert_eq!(guesses.pool.len(), LIMIT);
    }
}
