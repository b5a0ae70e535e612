//! Records as they come out of the ring buffer.

use netd_common::record::{FlowEvent, FlowRecord, Header, Kind, PayloadRecord, TurnRecord};
use zerocopy::FromBytes;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Flow(FlowRecord),
    Turn(TurnRecord),
    Payload(PayloadRecord, Vec<u8>),
}

impl Record {
    /// Reads a record, whose header must say how long it is.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let (header, _) = Header::read_from_prefix(bytes).unwrap();
        assert_eq!(header.len as usize, bytes.len(), "{header:?}");
        match Kind::from_number(header.kind) {
            Some(Kind::Flow) => Self::Flow(FlowRecord::read_from_bytes(bytes).unwrap()),
            Some(Kind::Turn) => Self::Turn(TurnRecord::read_from_bytes(bytes).unwrap()),
            Some(Kind::Payload) => {
                let (head, data) = PayloadRecord::read_from_prefix(bytes).unwrap();
                Self::Payload(head, data.to_vec())
            }
            Some(Kind::Socket | Kind::Process | Kind::Exit) | None => panic!("no classifier writes {header:?}"),
        }
    }

    /// Returns the flow record of an event.
    pub(crate) fn flow(&self, event: FlowEvent) -> Option<&FlowRecord> {
        match self {
            Self::Flow(record) if record.event == event as u8 => Some(record),
            Self::Flow(_) | Self::Turn(_) | Self::Payload(..) => None,
        }
    }

    pub(crate) fn turn(&self) -> Option<&TurnRecord> {
        match self {
            Self::Turn(record) => Some(record),
            Self::Flow(_) | Self::Payload(..) => None,
        }
    }

    pub(crate) fn payload(&self) -> Option<(&PayloadRecord, &[u8])> {
        match self {
            Self::Payload(head, data) => Some((head, data)),
            Self::Flow(_) | Self::Turn(_) => None,
        }
    }
}
