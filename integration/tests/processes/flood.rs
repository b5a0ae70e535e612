//! More processes than the ring buffer holds.

use std::process::Command;

use netd_common::{counter::Counter, process::ProcessEvent};
use netd_lab::require_root;

use crate::watcher::{options, watching_with};

#[test]
fn an_exec_flood_is_told_or_counted_and_takes_no_room_from_sockets() {
    require_root!();
    let options = netd::kernel::Options { process_ring_bytes: 16 << 10, ..options() };
    watching_with(options, |watcher| {
        let counters = watcher.kernel.counters().unwrap();
        let children: Vec<u32> = (0..200)
            .map(|_| {
                let mut child = Command::new("/bin/true").spawn().unwrap();
                child.wait().unwrap();
                child.id()
            })
            .collect();
        let lost = counters.read().unwrap().of(Counter::ExecRecordsLost);

        // Other processes of the machine go on: look until nothing came in between.
        let (told, counted) = watcher.wait("a quiet moment", |seen| {
            let before = counters.read().unwrap();
            let told = seen.told.iter().filter(|told| told.record.event == ProcessEvent::Exec as u8).count() as u64;
            (before.of(Counter::ExecRecords) == told).then_some((told, before))
        });

        assert!(lost > 0);
        assert_eq!(counted.of(Counter::ExecRecords), told);
        assert!(told + counted.of(Counter::ExecRecordsLost) >= children.len() as u64);
        assert_eq!(counted.of(Counter::SocketRecordsLost), 0);
        let ours = watcher.told.iter().filter(|told| children.contains(&told.record.owner.tgid)).count();
        assert!(ours < children.len());
    });
}
