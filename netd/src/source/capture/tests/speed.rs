use std::hint::black_box;
use std::io::Cursor;
use std::path::Path;
use std::time::Instant;

use super::super::Capture;
use super::Order;
use super::write::{Pcap, PcapNg, gzip};

const PACKETS: u32 = 500_000;

#[test]
#[ignore = "a measurement: cargo test --release -p netd reading_speed -- --ignored --nocapture"]
fn reading_speed() {
    // Lengths between 60 and 579 bytes.
    let data: Vec<u8> = (0..=u8::MAX).cycle().take(1_514).collect();
    let length = |n: u32| 60 + n as usize * 7_919 % 520;
    let pcap = (0..PACKETS)
        .fold(Pcap::new(Order::Little, Pcap::MICROSECONDS, 1), |file, n| file.packet(n, n, &data[..length(n)]));
    let pcapng = (0..PACKETS).fold(PcapNg::new(Order::Little).interface(1, 0, &[]), |file, n| {
        file.enhanced(0, n.into(), &data[..length(n)])
    });

    let compressed = gzip(&pcap.bytes);
    for (name, bytes) in [("pcap", pcap.bytes), ("pcapng", pcapng.bytes), ("pcap, gzip", compressed)] {
        let best = (0..5).map(|_| ns_per_packet(bytes.clone())).fold(f64::INFINITY, f64::min);
        println!("{name}: {best:.1} ns per packet");
    }
}

fn ns_per_packet(bytes: Vec<u8>) -> f64 {
    let mut capture = Capture::read(Path::new("memory"), Cursor::new(bytes)).unwrap();
    let start = Instant::now();
    while let Some(frame) = capture.next_frame().unwrap() {
        // What a parser would touch first.
        black_box((frame.time_ns, frame.data.get(12..14)));
    }
    start.elapsed().as_nanos() as f64 / f64::from(PACKETS)
}
