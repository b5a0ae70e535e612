//! The scenario of `netd demo`, without netd in the middle.

use std::time::Duration;

use netd_lab::demo::Demo;
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
    assert_eq!(facts.c2_bytes, facts.check_ins * 350);
    assert!(facts.c2_packets >= facts.check_ins * 4 && facts.last_c2_byte_ns > 0, "{facts:?}");
    assert_eq!((facts.ordinary.failed, facts.ordinary.lost_bytes()), (0, 0), "{facts:?}");
    assert!(facts.ordinary.answered > 40 && facts.ordinary.answered == facts.ordinary.exchanges, "{facts:?}");
}
