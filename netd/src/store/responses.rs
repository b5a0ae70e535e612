//! What was done at once about a finding, and how long it took: for the finding, and counted.

use netd_engine::respond::Measure;
use netd_engine::time::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time;

/// What became of one measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    /// It would have been done: policy, mode or kill switch hold it back.
    Withheld,
    /// Somebody or something protected is concerned.
    Refused,
    Failed,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Withheld => "withheld",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A measure, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MeasureTaken")]
pub struct Done {
    /// The measure.
    pub action: Measure,
    /// What became of it.
    pub result: Outcome,
    /// Sockets destroyed, processes signalled, verdicts put in force.
    pub count: usize,
}

/// What was done about a finding the last time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "FindingResponse")]
pub struct Response {
    /// Measures, in the order in which they were taken.
    pub actions: Vec<Done>,
    /// When the conversation was cut; if it was not, when everything else was done.
    #[serde(serialize_with = "time::serialize", deserialize_with = "time::deserialize")]
    #[schemars(with = "time::Rfc3339")]
    pub at: Timestamp,
    /// Seconds from what led to the finding until then.
    pub latency_s: f64,
    /// The first reason why something was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Label sets of bounded size: detectors, measures, outcomes.
pub type Labels = Vec<(&'static str, &'static str)>;
/// A histogram for each label set.
pub type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Latencies by detector, what analysis takes, and responses by action and result.
#[derive(Clone)]
pub struct Timings {
    /// From what led to a finding to its report.
    pub detection: Histograms,
    /// The age of the oldest record of a batch when the batch was analysed.
    pub analysis: Histogram,
    /// How long the detectors took for a batch.
    pub detectors: Histogram,
    /// From a finding to its verdict in the kernel and on disk.
    pub enforcement: Histogram,
    /// From there to the response.
    pub response: Histograms,
    pub responses: Family<Labels, Counter>,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            detection: Family::new_with_constructor(histogram),
            analysis: histogram(),
            detectors: Histogram::new(BATCH_S),
            enforcement: histogram(),
            response: Family::new_with_constructor(histogram),
            responses: Family::default(),
        }
    }
}

impl Timings {
    pub fn found(&self, detector: &'static str, latency_s: f64) {
        self.detection.get_or_create(&vec![("detector", detector)]).observe(latency_s);
    }

    pub(super) fn responded(&self, detector: &'static str, response: &Response) {
        if response.actions.iter().any(|done| done.result == Outcome::Done) {
            self.response.get_or_create(&vec![("detector", detector)]).observe(response.latency_s);
        }
        for done in &response.actions {
            let labels = vec![("action", done.action.name()), ("result", done.result.name())];
            self.responses.get_or_create(&labels).inc();
        }
    }
}

/// Seconds for a batch: of one record, or of some thousands.
const BATCH_S: [f64; 13] =
    [0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.1, 1.0];

/// From half a millisecond to a minute.
fn histogram() -> Histogram {
    Histogram::new([0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0])
}
