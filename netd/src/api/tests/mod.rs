//! Facts about the API, through its router and over real sockets, above a fake kernel.

mod acting;
mod auditing;
mod authorising;
mod blocklists;
mod conforming;
mod deciding;
mod documented;
mod enforcing;
mod explaining;
mod exporting;
mod handing_over;
mod history;
mod hunting;
mod killing;
mod listing;
mod operating;
mod policies;
mod putting;
mod reading;
mod rehearsing;
mod replaying;
mod resolving;
mod sessions;
mod sockets;
mod streaming;
mod strictness;
mod suppressing;
mod tls;
mod tools;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use netd_common::control::Mode;
use netd_common::counter::Counter;
use netd_engine::Engine;
use netd_engine::time::Timestamp;
use netd_geoip::{Databases, Paths};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::auth::Peer;
use super::{Access, Context, Doorkeeper, Listener, Means, Slots, router, serve};
use crate::feeds::board::Board;
use crate::signals::{Killer, Signaller};
use crate::sinks::SinkState;
use crate::store::audit::Audit;
use crate::store::disk::StateDir;
use crate::store::events::Events;
use crate::store::evidence::Evidence;
use crate::store::history::History;
use crate::store::jobs::Jobs;
use crate::store::policies::{Book, Files, InForce, Written};
use crate::store::questions;
use crate::store::status::{
    self, Degraded, Fill, Interface, InterfaceTraffic, Loss, Programs, Protected, Runs, Snapshot,
};
use crate::store::suppressions::Suppressions;
use crate::store::tokens::{Scope, Tokens};
use crate::store::{Findings, Flows};
use crate::verdicts::fake::Fake;
use crate::verdicts::{self, Guard, Now, Operators, Service, Settings};

/// The API over a fake kernel in enforce mode, with 10.0.0.1 as its gateway.
pub(crate) struct Api {
    pub(crate) router: Router,
    pub(crate) tokens: Arc<Tokens>,
    audit: Audit,
    fake: Fake,
    handle: verdicts::Handle,
    listed: watch::Receiver<Arc<netd_engine::listed::Listed>>,
    pub(crate) findings: Arc<Findings>,
    pub(crate) flows: Arc<Flows>,
    evidence: Arc<Evidence>,
    streams: Slots,
    snapshots: watch::Sender<Arc<Snapshot>>,
    _service: JoinHandle<Service<Fake>>,
}

/// What only some daemons have.
#[derive(Default)]
struct Kept {
    history: Option<Arc<History>>,
    jobs: Jobs,
    /// Whether the API may kill.
    kills: bool,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem of a status, and returns it.
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("urn:netd:problem:"));
        problem
    }
}

impl Api {
    /// Whoever reaches its loopback address may do everything.
    pub(crate) fn new() -> Self {
        Self::made(1_000, None)
    }

    pub(crate) fn with(audit: Audit, loopback: Option<Scope>) -> Self {
        Self::of(1_000, None, Arc::new(Book::new(Files::default(), InForce::default())), audit, loopback)
    }

    fn with_policies(policies: Arc<Book>) -> Self {
        Self::of(1_000, None, policies, Audit::none(), Some(Scope::Admin))
    }

    /// Keeps policies that it is given.
    pub(crate) fn keeping_policies(state_dir: &Path) -> Self {
        let mut written = Written::open(Some(StateDir::open(state_dir).unwrap()));
        let (policies, _) = written.read(Path::new("")).unwrap();
        let book = Book::new(Files::default(), InForce { policies, ..InForce::default() });
        Self::with_policies(Arc::new(book.keeping(written)))
    }

    /// Holds so many flows in memory.
    fn made(flows: usize, history: Option<Arc<History>>) -> Self {
        Self::of(
            flows,
            history,
            Arc::new(Book::new(Files::default(), InForce::default())),
            Audit::none(),
            Some(Scope::Admin),
        )
    }

    fn of(
        flows: usize,
        history: Option<Arc<History>>,
        policies: Arc<Book>,
        audit: Audit,
        loopback: Option<Scope>,
    ) -> Self {
        let engine = Engine::new(netd_engine::config::Config::default());
        Self::over(engine, flows, history, policies, audit, loopback)
    }

    /// Shows what an engine follows.
    fn of_engine(engine: Engine) -> Self {
        let policies = Arc::new(Book::new(Files::default(), InForce::default()));
        Self::over(engine, 1_000, None, policies, Audit::none(), Some(Scope::Admin))
    }

    fn over(
        engine: Engine,
        flows: usize,
        history: Option<Arc<History>>,
        policies: Arc<Book>,
        audit: Audit,
        loopback: Option<Scope>,
    ) -> Self {
        Self::whole(engine, flows, Kept { history, ..Kept::default() }, policies, audit, loopback)
    }

    /// Takes captures in to be replayed.
    fn with_jobs(jobs: Jobs) -> Self {
        let policies = Arc::new(Book::new(Files::default(), InForce::default()));
        let engine = Engine::new(netd_engine::config::Config::default());
        let kept = Kept { jobs, ..Kept::default() };
        Self::whole(engine, 1_000, kept, policies, Audit::none(), Some(Scope::Admin))
    }

    /// Kills whom it is asked to.
    fn killing(audit: Audit) -> Self {
        let policies = Arc::new(Book::new(Files::default(), InForce::default()));
        let engine = Engine::new(netd_engine::config::Config::default());
        Self::whole(engine, 1_000, Kept { kills: true, ..Kept::default() }, policies, audit, Some(Scope::Admin))
    }

    fn whole(
        engine: Engine,
        flows: usize,
        Kept { history, jobs, kills }: Kept,
        policies: Arc<Book>,
        audit: Audit,
        loopback: Option<Scope>,
    ) -> Self {
        let fake = Fake::default();
        let settings = Settings {
            mode: Mode::Enforce,
            protect: vec![(Guard::Gateway, vec!["10.0.0.1/32".parse().unwrap()])],
            ..Settings::default()
        };
        let service = Service::start(fake.clone(), None, settings, Now::read()).unwrap();
        let listed = service.listed();
        let (handle, commands) = verdicts::channel();
        let (snapshots, sources) = status::channel(snapshot());
        let events = Events::default();
        let findings = Arc::new(Findings::new(1_000).telling(events.clone()));
        let flows = Arc::new(Flows::new(flows).telling(events.clone()));
        let (asker, mut asked) = questions::channel();
        tokio::spawn(async move {
            while let Some(asked) = asked.recv().await {
                asked.answer(&engine);
            }
        });
        let tokens = Arc::new(Tokens::open(None));
        let evidence = Arc::new(Evidence::new(1 << 20));
        let streams = Slots::default();
        let context = Context {
            verdicts: handle.clone(),
            findings: Arc::clone(&findings),
            flows: Arc::clone(&flows),
            events: events.clone(),
            sources,
            suppressions: Arc::new(Suppressions::open(None)),
            policies,
            asker,
            docs: true,
            config: Arc::new(serde_json::json!({"mode": "enforce"})),
            evidence: Arc::clone(&evidence),
            bouncers: Default::default(),
            streams: streams.clone(),
            feeds: Board::default(),
            hosts: Arc::from(["netd.example".to_owned()]),
            databases: databases(),
            history,
            jobs,
            audit: audit.clone(),
            tokens: Arc::clone(&tokens),
            doorkeeper: Doorkeeper::new(
                Access { loopback, group: Some(Scope::Read) },
                Arc::clone(&tokens),
                Operators::new(handle.clone()),
            ),
            killer: Killer {
                signaller: Signaller { audit: audit.clone(), programs: Arc::default() },
                withheld: (!kills).then_some("nobody kills here"),
            },
            privileges: Arc::default(),
        };
        let service = tokio::spawn(verdicts::run(service, commands, events, audit.clone(), CancellationToken::new()));
        Self {
            router: router(context),
            tokens,
            audit,
            fake,
            handle,
            listed,
            findings,
            flows,
            evidence,
            streams,
            snapshots,
            _service: service,
        }
    }

    /// Returns how many streams are being read.
    pub(crate) fn readers(&self) -> usize {
        self.streams.taken()
    }

    /// Serves on a port that was served before.
    pub(crate) async fn listen_at(&self, address: SocketAddr) -> (CancellationToken, JoinHandle<()>) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let listener = loop {
            match Listener::bind(&address.to_string().parse().unwrap(), &Means::default()) {
                Ok(listener) => break listener,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
        };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, self.router.clone(), shutdown.clone()));
        (shutdown, serving)
    }

    /// Serves on a loopback port until the token is cancelled.
    pub(crate) async fn listen(&self) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &Means::default()).unwrap();
        let address = listener.tcp_address().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, self.router.clone(), shutdown.clone()));
        (address, shutdown, serving)
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    async fn put_list(&self, path: &str, content: &str) -> Answer {
        self.send(Method::PUT, &format!("/api/v1/blocklists/{path}"), &[("content-type", "text/plain")], content).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body).await
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send_bytes(method, path, headers, body.as_bytes()).await
    }

    async fn send_bytes(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = Request::builder().method(method.clone()).uri(path);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.extension(Peer::Unix { uid: 0, pid: None });
        }
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:9443");
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_vec())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.unwrap();
        let answer =
            Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() };
        conforming::assert_documented(&method, path, &answer);
        answer
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        started: Timestamp(1_800_000_000_000_000_000),
        interfaces: vec![Interface { name: "eth0".into(), index: 2, attached: vec!["tcx ingress".into()] }],
        traffic: vec![
            InterfaceTraffic { interface: "eth0".into(), packets: [7, 0], bytes: [700, 0] },
            InterfaceTraffic { interface: "other".into(), packets: [0, 1], bytes: [0, 60] },
        ],
        protected: Arc::new(Protected { gateways: ["10.0.0.1".parse().unwrap()].into(), ..Protected::default() }),
        kernel: vec![(Counter::IngressPackets, 7), (Counter::TurnRecordsLost, 3)],
        losses: vec![Loss { stage: "verdict_queue", lost: 0 }],
        flow_slots: Fill { entries: 5, capacity: 65_536 },
        degraded: vec![Degraded { what: "XDP".into(), why: "no driver support".into(), consequence: "slower".into() }],
        geoip: databases().states(),
        sinks: vec![SinkState { name: "eve".into(), queued: 3, capacity: 100, retries: 1, fates: [7, 0, 2, 0, 0, 0] }],
        stores: vec![("state", 4_096)],
        programs: Programs {
            repinned: [("link", 2)].into(),
            runs: vec![Runs { program: "tc_ingress", runs: 7, time_ns: 1_500_000_000 }],
            ..Programs::default()
        },
        ..Snapshot::default()
    }
}

/// The test databases of documentation prefixes.
fn databases() -> Arc<Databases> {
    let file = |name| Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../geoip/testdata").join(name));
    let databases = Databases::new(Paths { country: file("country.mmdb"), asn: file("asn.mmdb") });
    assert!(databases.reload().iter().all(|loaded| loaded.result.is_ok()));
    Arc::new(databases)
}
