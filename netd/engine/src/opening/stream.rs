//! The first records of one side: put in order for a connection, kept apart for datagrams.

/// Records heard of one side.
pub(super) const MOST_RECORDS: usize = 3;
/// Sequence numbers further apart than this do not belong to one opening.
const WINDOW: u32 = 1 << 17;

#[derive(Debug)]
struct Record {
    seq: Option<u32>,
    bytes: Box<[u8]>,
}

/// What one side has said so far, bounded by [`MOST_RECORDS`].
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// In the order of arrival.
    records: Vec<Record>,
}

impl Stream {
    pub(super) fn push(&mut self, seq: Option<u32>, bytes: &[u8]) {
        if !self.is_full() {
            self.records.push(Record { seq, bytes: bytes.into() });
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= MOST_RECORDS
    }

    /// Returns the memory it holds, in bytes.
    pub(super) fn size(&self) -> usize {
        self.records.iter().map(|record| size_of::<Record>() + record.bytes.len()).sum()
    }

    /// Returns the records one by one, as they arrived.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().map(|record| &*record.bytes)
    }

    /// Returns the bytes of a connection in the order of their sequence numbers, up to the first gap. What was sent
    /// twice counts once; where no numbers are known, the order of arrival counts.
    pub(super) fn joined(&self) -> Vec<u8> {
        let Some(first) = self.records.first() else { return Vec::new() };
        let Some(origin) = first.seq else { return self.datagrams().flatten().copied().collect() };
        // Distances are taken modulo 2^32 (RFC 9293, 3.4); the first to arrive is in the middle of the window.
        let place = |record: &Record| record.seq.map(|seq| seq.wrapping_sub(origin).wrapping_add(WINDOW));
        let mut placed: Vec<(u32, &[u8])> = self
            .records
            .iter()
            .filter_map(|record| Some((place(record)?, &*record.bytes)))
            .filter(|(place, _)| *place < 2 * WINDOW)
            .collect();
        placed.sort_by_key(|(place, _)| *place);
        let Some((begin, _)) = placed.first().copied() else { return Vec::new() };
        let mut joined = Vec::new();
        for (place, bytes) in placed {
            let at = (place - begin) as usize;
            if at > joined.len() {
                break;
            }
            joined.extend_from_slice(bytes.get(joined.len() - at..).unwrap_or_default());
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(records: &[(u32, &[u8])]) -> Vec<u8> {
        let mut stream = Stream::default();
        for (seq, bytes) in records {
            stream.push(Some(*seq), bytes);
        }
        stream.joined()
    }

    #[test]
    fn segments_that_arrive_out_of_order_are_put_in_order() {
        assert_eq!(joined(&[(105, b"world"), (100, b"hello")]), b"helloworld");
    }

    #[test]
    fn a_retransmission_counts_once() {
        assert_eq!(joined(&[(100, b"hello"), (100, b"hello"), (105, b"world")]), b"helloworld");
        assert_eq!(joined(&[(100, b"hello"), (103, b"loworld")]), b"helloworld");
        assert_eq!(joined(&[(100, b"hello"), (101, b"ell")]), b"hello");
    }

    #[test]
    fn nothing_is_read_beyond_a_gap() {
        assert_eq!(joined(&[(100, b"hello"), (106, b"orld")]), b"hello");
    }

    #[test]
    fn sequence_numbers_wrap() {
        assert_eq!(joined(&[(u32::MAX - 1, b"hell"), (2, b"o")]), b"hello");
    }

    #[test]
    fn a_record_from_far_away_is_left_out() {
        assert_eq!(joined(&[(1 << 20, b"hello"), (7, b"noise")]), b"hello");
    }

    proptest! {
        #[test]
        fn any_split_in_any_order_joins_to_the_whole(
            seq: u32,
            whole in prop::collection::vec(any::<u8>(), 3..300),
            cuts in (0usize..300, 0usize..300),
            order in Just([0usize, 1, 2]).prop_shuffle(),
        ) {
            let (mut low, mut high) = (cuts.0 % whole.len(), cuts.1 % whole.len());
            if low > high {
                std::mem::swap(&mut low, &mut high);
            }
            let parts = [(0, &whole[..low]), (low, &whole[low..high]), (high, &whole[high..])];
            let mut stream = Stream::default();
            for index in order {
                let (at, bytes) = parts[index];
                stream.push(Some(seq.wrapping_add(at as u32)), bytes);
            }

            prop_assert_eq!(stream.joined(), whole);
        }
    }
}
