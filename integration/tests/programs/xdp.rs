//! XDP drops early what TC would drop, and leaves everything else to it.

use netd_common::{
    counter::Counter,
    names::TC_INGRESS,
    packet::{IPPROTO_TCP, IPPROTO_UDP},
    verdict::{Action, Rule},
};
use netd_lab::{
    frames::{Extension, Frame},
    require_root,
};

use crate::{
    kernel::{Kernel, Level, SHOT, XDP_DROP, XDP_PASS, directed},
    pair, pairs, tcp,
};

const DROP: Rule = Rule::new(Action::Drop, u64::MAX);

#[test]
fn a_drop_verdict_of_every_level_drops() {
    require_root!();
    for (local, listed) in pairs() {
        let levels = [
            Level::Flow(directed(local, listed, IPPROTO_TCP)),
            Level::Endpoint(listed, IPPROTO_TCP),
            Level::Host(listed.ip()),
            Level::Prefix(listed.ip(), 32),
        ];
        for level in levels {
            let mut kernel = Kernel::load();
            let rule = kernel.list(level, DROP);

            assert_eq!(kernel.run_xdp(&tcp(listed, local)), XDP_DROP, "{level:?}");

            assert_eq!((kernel.hits(rule).packets, kernel.count(Counter::XdpDropped)), (1, 1));
            assert_eq!(kernel.hits(rule).bytes, tcp(listed, local).len() as u64);
        }
    }
}

#[test]
fn every_other_action_is_left_to_tc() {
    require_root!();
    for rule in
        [Rule::new(Action::Observe, u64::MAX), Rule::new(Action::Reset, u64::MAX), Rule::throttle(1, 0, u64::MAX)]
    {
        let (local, listed) = pair();
        let mut kernel = Kernel::load();
        let id = kernel.list(Level::Host(listed.ip()), rule);

        assert_eq!([kernel.run_xdp(&tcp(listed, local)), kernel.run_xdp(&tcp(listed, local))], [XDP_PASS; 2]);

        assert_eq!(kernel.hits(id).packets, 0);
    }
}

#[test]
fn an_expired_verdict_passes() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    kernel.list(Level::Host(listed.ip()), Rule::new(Action::Drop, 1));

    assert_eq!(kernel.run_xdp(&tcp(listed, local)), XDP_PASS);
}

#[test]
fn an_allowed_address_passes() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        kernel.list(Level::Host(listed.ip()), DROP);

        kernel.allow(listed.ip(), 32);

        assert_eq!(kernel.run_xdp(&tcp(listed, local)), XDP_PASS);
    }
}

#[test]
fn nothing_is_accounted() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    kernel.list(Level::Host(listed.ip()), DROP);

    kernel.run_xdp(&tcp(listed, local));
    kernel.run_xdp(&tcp(local, local));

    assert!(kernel.slots().is_empty() && kernel.drain().is_empty());
}

#[test]
fn a_jumbo_frame_in_several_pages_is_dropped_and_counted_whole() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let rule = kernel.list(Level::Host(listed.ip()), DROP);
    let jumbo = Frame::udp(listed, local).payload(&[0; 8000]).build();

    assert_eq!(kernel.run_xdp(&jumbo), XDP_DROP);

    assert_eq!(kernel.hits(rule).bytes, jumbo.len() as u64);
}

#[test]
fn xdp_and_tc_agree_on_what_a_drop_verdict_drops() {
    require_root!();
    for (local, listed) in pairs() {
        let whole = Frame::tcp(listed, local).payload(&[1; 60]);
        let mut frames = vec![
            whole.clone(),
            whole.clone().vlan(3),
            whole.clone().service_vlan(3).vlan(4),
            whole.clone().fragment(0, true, 1),
            whole.clone().fragment(64, false, 1),
            whole.clone().ipv4_options(&[1; 8]),
            whole.clone().extension(Extension::HopByHop).extension(Extension::Authentication),
            whole.clone().claim_version(7),
            Frame::udp(listed, local),
            Frame::ping(listed.ip(), local.ip(), 1),
            Frame::protocol(listed.ip(), local.ip(), 50),
        ];
        frames.extend((14..78).map(|length| whole.clone().vlan(3).truncate(length)));
        let levels = [
            Level::Flow(directed(local, listed, IPPROTO_TCP)),
            Level::Endpoint(listed, IPPROTO_UDP),
            Level::Host(listed.ip()),
            Level::Prefix(listed.ip(), 24),
        ];
        for level in levels {
            let mut kernel = Kernel::load();
            kernel.list(level, DROP);
            for frame in &frames {
                let packet = frame.build();

                let early = kernel.run_xdp(&packet) == XDP_DROP;
                let late = kernel.run(TC_INGRESS, &packet).action == SHOT;

                assert_eq!(early, late, "{level:?} {frame:?}");
            }
        }
    }
}
