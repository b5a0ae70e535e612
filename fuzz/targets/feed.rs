//! Lists of indicators: whatever a feed sends, cut wherever the network cuts it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netd_engine::feed::Reader;
use netd_engine::time::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, text)) = bytes.split_first() else { return };
    let read = |pieces: &[&[u8]]| {
        let (mut found, mut reader) = (Vec::new(), Reader::new(Timestamp(1_795_000_000_000_000_000)));
        for piece in pieces {
            reader.push(piece, &mut |one| found.push(one));
        }
        let summary = reader.finish(&mut |one| found.push(one));
        (found, summary)
    };
    let (head, tail) = text.split_at(usize::from(*cut).min(text.len()));
    assert_eq!(read(&[head, tail]), read(&[text]));
});
