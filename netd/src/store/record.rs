//! A finding as queries see it.

use std::borrow::Cow;

use netd_engine::time::Timestamp;

use super::Stored;
use crate::query::{Field, Record, Value, severity_rank};

impl Record for Stored {
    fn value(&self, field: Field) -> Value<'_> {
        let finding = &self.finding;
        let (pair, process) = (&finding.pair, finding.process.as_ref());
        let container = process.and_then(|process| process.container.as_deref());
        let pod = container.and_then(|container| container.pod.as_ref());
        let region = finding.responder_region.as_ref();
        let number = |number: u64| Value::Number(i64::try_from(number).unwrap_or(i64::MAX));
        match field {
            Field::Src => Value::Address(pair.originator),
            Field::Dst => Value::Address(pair.responder),
            Field::DstPort => number(pair.responder_port.into()),
            Field::Protocol => number(pair.proto.into()),
            Field::Process => process.map(|process| process.comm.as_str()).into(),
            Field::Exe => process.and_then(|process| process.exe.as_deref()).into(),
            Field::Pid => process.map_or(Value::None, |process| number(process.id.pid.into())),
            Field::User => process.and_then(|process| process.user.as_deref()).into(),
            Field::Container => container.map(|c| c.name.as_deref().unwrap_or(&c.id)).into(),
            Field::Namespace => pod.and_then(|pod| pod.namespace.as_deref()).into(),
            Field::Pod => pod.and_then(|pod| pod.name.as_deref()).into(),
            Field::Name => finding.name.as_deref().into(),
            Field::Country => region.and_then(|region| region.country.as_ref()).map(|c| c.as_str()).into(),
            Field::Asn => region.and_then(|region| region.asn).map_or(Value::None, |asn| number(asn.into())),
            Field::Score => Value::Share(finding.score),
            Field::Detector => Some(finding.detector).into(),
            Field::Severity => Value::Number(severity_rank(finding.severity)),
            Field::Status => Some(self.triage.status.name()).into(),
            Field::Assignee => self.triage.assignee.as_deref().into(),
            Field::Title => Some(finding.title.as_str()).into(),
            Field::Id => number(finding.id),
            Field::Ip
            | Field::Port
            | Field::SrcPort
            | Field::Sni
            | Field::Service
            | Field::Ja4
            | Field::Verdict
            | Field::Rule
            | Field::Finding
            | Field::CommunityId
            | Field::State
            | Field::EndReason
            | Field::Bytes
            | Field::BytesIn
            | Field::BytesOut
            | Field::Packets
            | Field::Duration
            | Field::Turns
            | Field::Technique => Value::None,
        }
    }

    fn texts(&self, field: Field) -> Vec<Cow<'_, str>> {
        let container = self.finding.process.as_ref().and_then(|process| process.container.as_deref());
        match (field, container) {
            (Field::Technique, _) => self.finding.attack.iter().copied().map(Cow::Borrowed).collect(),
            (Field::Container, Some(container)) => {
                let id = Some(container.id.as_str());
                container.name.as_deref().into_iter().chain(id).map(Cow::Borrowed).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A finding is told again when it rises: it is asked for by its last time.
    fn begun(&self) -> Timestamp {
        self.finding.time
    }

    fn ended(&self) -> Timestamp {
        self.finding.time
    }
}
