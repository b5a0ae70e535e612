//! The ring buffer's records, decoded where they lie.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use netd_common::{
    process::{ExitRecord, ProcessRecord},
    record::{FlowRecord, Header, Kind, PayloadRecord, SocketRecord, TurnRecord},
};
use tokio::io::{Interest, unix::AsyncFd};
use zerocopy::FromBytes;

/// A record, borrowed from the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRef<'a> {
    Flow(&'a FlowRecord),
    Turn(&'a TurnRecord),
    /// With the bytes that were captured.
    Payload(&'a PayloadRecord, &'a [u8]),
    Socket(&'a SocketRecord),
    /// With path and arguments, which are empty unless it is an exec.
    Process(&'a ProcessRecord, &'a [u8], &'a [u8]),
    Exit(&'a ExitRecord),
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Flow(FlowRecord),
    Turn(TurnRecord),
    Payload(PayloadRecord, Vec<u8>),
    Socket(SocketRecord),
    Process(Box<ProcessRecord>, Vec<u8>, Vec<u8>),
    Exit(ExitRecord),
}

impl From<EventRef<'_>> for Event {
    fn from(event: EventRef<'_>) -> Self {
        match event {
            EventRef::Flow(record) => Self::Flow(*record),
            EventRef::Turn(record) => Self::Turn(*record),
            EventRef::Payload(record, bytes) => Self::Payload(*record, bytes.to_vec()),
            EventRef::Socket(record) => Self::Socket(*record),
            EventRef::Process(record, filename, args) => {
                Self::Process(Box::new(*record), filename.to_vec(), args.to_vec())
            }
            EventRef::Exit(record) => Self::Exit(*record),
        }
    }
}

impl<'a> EventRef<'a> {
    /// Decodes a record; `None` for one that is too short, or of another version.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (header, _) = Header::ref_from_prefix(bytes).ok()?;
        match Kind::from_number(header.kind)? {
            Kind::Flow => prefix(bytes).map(|(record, _)| Self::Flow(record)),
            Kind::Turn => prefix(bytes).map(|(record, _)| Self::Turn(record)),
            Kind::Socket => prefix(bytes).map(|(record, _)| Self::Socket(record)),
            Kind::Payload => {
                let (record, rest): (&PayloadRecord, _) = prefix(bytes)?;
                Some(Self::Payload(record, rest.get(..usize::from(record.captured))?))
            }
            Kind::Process => {
                let (record, rest): (&ProcessRecord, _) = prefix(bytes)?;
                let (filename, rest) = rest.split_at_checked(record.filename_len.into())?;
                Some(Self::Process(record, filename, rest.get(..usize::from(record.args_len))?))
            }
            Kind::Exit => prefix(bytes).map(|(record, _)| Self::Exit(record)),
        }
    }
}

fn prefix<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(bytes: &[u8]) -> Option<(&T, &[u8])> {
    T::ref_from_prefix(bytes).ok()
}

/// Reads the ring buffer. There is one reader: the position is the map's, so a restarted daemon reads on where the
/// last one stopped.
pub struct Events {
    ring: RingBuf<MapData>,
    ready: Option<AsyncFd<OwnedFd>>,
    /// The last batch ended because it was full, so there may be no new wake-up for what is left.
    backlog: bool,
    undecoded: u64,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("backlog", &self.backlog).field("undecoded", &self.undecoded).finish()
    }
}

impl Events {
    pub(super) const fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring, ready: None, backlog: true, undecoded: 0 }
    }

    /// Hands up to `max` records to `each`, in order, and returns how many. Does not wait.
    pub fn poll_batch(&mut self, max: usize, mut each: impl FnMut(EventRef<'_>)) -> usize {
        let mut taken = 0;
        while taken < max {
            let Some(item) = self.ring.next() else { break };
            taken += 1;
            match EventRef::decode(&item) {
                Some(event) => each(event),
                None => self.undecoded += 1,
            }
        }
        self.backlog = taken == max;
        taken
    }

    /// Waits for records, at most for `patience`: most records do not wake a reader, so that a busy network costs a
    /// wake-up only every so often. Must be called in a tokio runtime; is cancel safe.
    ///
    /// # Errors
    ///
    /// When the ring buffer cannot be waited for.
    pub async fn wait(&mut self, patience: Duration) -> io::Result<()> {
        if self.backlog {
            return Ok(());
        }
        if self.ready.is_none() {
            let fd = self.ring.as_fd().try_clone_to_owned()?;
            // SAFETY: the descriptor is owned by what is registered, so it stays open and the same as long as that.
            self.ready = Some(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?);
        }
        if let Some(ready) = &self.ready
            && let Ok(guard) = tokio::time::timeout(patience, ready.readable()).await
        {
            guard?.clear_ready();
        }
        Ok(())
    }

    /// Returns how many records could not be decoded.
    #[must_use]
    pub const fn undecoded(&self) -> u64 {
        self.undecoded
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;

    /// The ring buffer aligns records to eight bytes.
    #[repr(align(8))]
    struct Aligned<const N: usize>([u8; N]);

    fn payload(captured: u16) -> PayloadRecord {
        let header = Header { kind: Kind::Payload as u16, ..Header::default() };
        PayloadRecord { header, captured, ..PayloadRecord::default() }
    }

    #[test]
    fn a_payload_record_comes_with_its_bytes_and_no_more() {
        let mut bytes = Aligned([7; size_of::<PayloadRecord>() + 8]);
        bytes.0[..size_of::<PayloadRecord>()].copy_from_slice(payload(5).as_bytes());

        let event = EventRef::decode(&bytes.0);

        assert_eq!(event, Some(EventRef::Payload(&payload(5), &[7; 5])));
    }

    #[test]
    fn a_payload_record_that_claims_more_than_it_brings_is_not_decoded() {
        let mut bytes = Aligned([7; size_of::<PayloadRecord>() + 8]);
        bytes.0[..size_of::<PayloadRecord>()].copy_from_slice(payload(9).as_bytes());

        assert_eq!(EventRef::decode(&bytes.0), None);
    }

    #[test]
    fn a_record_of_an_unknown_kind_is_not_decoded() {
        let mut record = FlowRecord::new_zeroed();
        record.header.kind = 99;

        assert_eq!(EventRef::decode(record.as_bytes()), None);
    }

    #[test]
    fn a_process_record_comes_with_path_and_arguments() {
        let mut bytes = Aligned([7; size_of::<ProcessRecord>() + 8]);
        let header = Header { kind: Kind::Process as u16, ..Header::default() };
        let record = ProcessRecord { header, filename_len: 3, args_len: 4, ..ProcessRecord::default() };
        bytes.0[..size_of::<ProcessRecord>()].copy_from_slice(record.as_bytes());

        assert_eq!(EventRef::decode(&bytes.0), Some(EventRef::Process(&record, &[7; 3], &[7; 4])));
        assert_eq!(EventRef::decode(&bytes.0[..size_of::<ProcessRecord>() + 6]), None);
    }

    proptest! {
        #[test]
        fn no_record_makes_the_decoder_panic(kind in 0_u8..8, random in any::<[u8; 31]>(), len in 0_usize..768) {
            let mut bytes = Aligned([0; 768]);
            for (byte, random) in bytes.0.iter_mut().zip(random.iter().cycle()) {
                *byte = *random;
            }
            bytes.0[0] = kind;
            bytes.0[1] = 0;

            let _ = EventRef::decode(&bytes.0[..len]);
        }
    }
}
