//! The scenario of `netd demo`: without netd in the middle, and the command itself.

use std::time::Duration;

use netd_lab::demo::{Demo, TASKS};
use netd_lab::require_root;

#[test]
fn without_netd_every_check_in_and_every_ordinary_byte_arrives() {
    require_root!();
    let demo = Demo::start(7, Duration::from_secs(60)).unwrap();
    std::thread::sleep(Duration::from_secs(7));

    let running = demo.facts().unwrap();
    let facts = demo.stop().unwrap();

    assert!((4..=6).contains(&running.check_ins), "{running:?}");
    assert_eq!(facts.answered, facts.check_ins);
    let tasks = facts.check_ins / u64::from(TASKS.every);
    assert_eq!(facts.c2_bytes, facts.check_ins * 350 + tasks * TASKS.output as u64);
    assert!(facts.c2_packets >= facts.check_ins * 4 && facts.last_c2_byte_ns > 0, "{facts:?}");
    assert_eq!((facts.ordinary.failed, facts.ordinary.lost_bytes()), (0, 0), "{facts:?}");
    assert!(facts.ordinary.answered > 40 && facts.ordinary.answered == facts.ordinary.exchanges, "{facts:?}");
}

#[test]
fn the_command_finds_cuts_and_proves_it() {
    require_root!();
    let netd = netd_lab::binary::netd().unwrap();

    let output = std::process::Command::new(netd).arg("demo").output().unwrap();

    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{errors}");
    for line in ["packets leaked after the cut       0", "0 failed", " 0 lost", "fit for an automatic block"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
