//! What is remembered of clients, servers and domains by themselves.

use super::bounded::Worth;
use super::dga::Failed;
use super::sketch::Few;
use super::window::Window;

/// One client's queries of five minutes.
#[derive(Debug, Default)]
pub(super) struct Queries {
    pub(super) count: u32,
    pub(super) existing: Few<4>,
    pub(super) failed: Failed,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) window: Window<Queries>,
    /// Some of its look-ups are hidden: not every address it uses can be known by an answer.
    pub(super) hides_queries: bool,
}

impl Client {
    pub(super) const fn new() -> Self {
        Self { window: Window::new(), hides_queries: false }
    }

    pub(super) fn queries(&self, now_ns: u64) -> u32 {
        self.window.live(now_ns).map(|pane| pane.count).fold(0, u32::saturating_add)
    }

    pub(super) fn failed(&self, now_ns: u64) -> (Failed, u32) {
        let (mut failed, mut existing) = (Failed::default(), Few::<4>::new());
        for pane in self.window.live(now_ns) {
            failed.join(&pane.failed);
            existing.join(&pane.existing);
        }
        (failed, existing.count())
    }
}

impl Worth for Client {
    fn worth(&self, now_ns: u64) -> f64 {
        let panes = self.window.live(now_ns);
        panes.map(|pane| f64::from(pane.count).ln_1p() + f64::from(pane.failed.count())).sum()
    }
}

/// A server: a resolver is asked about many domains, a tunnel's end about its own.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) domains: Few<1>,
    pub(super) clients: Few<1>,
}

impl Worth for Server {
    fn worth(&self, _now_ns: u64) -> f64 {
        self.domains.estimate() + self.clients.estimate()
    }
}

/// A domain: who asks about it, and since when.
#[derive(Debug, Default)]
pub(super) struct Domain {
    pub(super) clients: Few<1>,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
}

impl Worth for Domain {
    fn worth(&self, now_ns: u64) -> f64 {
        let days = now_ns.saturating_sub(self.last_ns) as f64 / 8.64e13;
        self.clients.estimate() / (1.0 + days)
    }
}
