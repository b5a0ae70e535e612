use std::fs;
use std::path::{Path, PathBuf};

use super::super::{Capture, Link};

/// Returns the folder of captures from real networks, which is not part of the repository.
fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("NETD_CAPTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures"), PathBuf::from);
    folder.join("INDEX.tsv").exists().then_some(folder)
}

#[test]
fn captures_from_real_networks_hold_as_many_packets_as_their_index_says() {
    let Some(folder) = captures() else {
        println!("not run: no captures here; NETD_CAPTURES names their folder");
        return;
    };
    let index = fs::read_to_string(folder.join("INDEX.tsv")).unwrap();
    let mut lines = index.lines();
    let columns: Vec<_> = lines.next().unwrap().split('\t').collect();
    let column = |name| columns.iter().position(|column| *column == name).unwrap();
    let (file, packets) = (column("file"), column("packets"));

    let mut read = 0;
    for line in lines {
        let fields: Vec<_> = line.split('\t').collect();

        let found = count(&folder.join(fields[file]));

        assert_eq!(found, fields[packets].parse::<u64>().unwrap(), "{}", fields[file]);
        read += 1;
    }

    assert!(read > 0, "the index is empty");
}

fn count(path: &Path) -> u64 {
    let mut capture = Capture::open(path).unwrap_or_else(|error| panic!("{error}"));
    let mut count = 0;
    while let Some(frame) = capture.next_frame().unwrap_or_else(|error| panic!("{error}")) {
        assert!(!matches!(frame.link, Link::Unsupported(_)), "{}", path.display());
        count = frame.index;
    }
    count
}
