//! A capture from memory through reader, parser, accounting and engine, on one core.

use std::{
    io::Cursor,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use netd::source::{
    accounting::{Accounting, Arrival, Records, Settings},
    capture::{Capture, network_layer},
    replay::Replay,
};
use netd_common::{
    packet::Packet,
    record::{FlowRecord, PayloadRecord, TurnRecord},
};
use netd_engine::{Engine, config::Config};
use netd_lab::{
    capture::Format,
    frames::Link,
    synth::{Browsing, Calls, Path as Route, Tape, Tcp, datagrams},
    traffic::{
        dice::Dice,
        exchange::Lengths,
        payload::Look,
        timer::{Jitter, Timer},
    },
};

use crate::support::{
    kernel::thread_time,
    options::Options,
    race::{Effort, Race},
    report::{Goal, Noisy, Number, Report},
};

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let hours = if options.quick { 1 } else { 12 };
    let (file, packets) = traffic(Duration::from_secs(hours * 3_600));
    let effort = Effort { rounds: if options.quick { 1 } else { 5 }, samples: 1, packets: 0 };
    let race = Race::<3>::run(effort, |contestant, _| {
        let capture = Capture::read(Path::new("memory"), Cursor::new(Arc::clone(&file)))?;
        let begin = thread_time();
        let read = match contestant {
            0 => replay(capture)?,
            1 => account(capture)?,
            _ => parse(capture)?,
        };
        let time = thread_time() - begin;
        ensure!(read == packets, "{read} of {packets} packets were read");
        Ok(time.as_nanos() as f64 / packets as f64)
    })?;
    let names = ["reader, parser, accounting, engine with the detector", "without the engine", "reader and parser"];
    let goals = [Goal::AtLeast(3.0), Goal::None, Goal::None];
    let size = file.len() as u64 / packets;
    for (at, (name, goal)) in names.iter().zip(goals).enumerate() {
        let raw = format!("{} ns a packet; {packets} packets of {size} bytes", Number(race.smallest()[at]));
        report.row(format!("replay: {name}"), raw).end(
            race.figure(|times| 1_000.0 / times[at]),
            " M packets/s",
            goal,
            Noisy,
        );
    }
    Ok(())
}

fn replay(capture: Capture) -> Result<u64> {
    let mut engine = Engine::new(Config::default());
    let mut replay = Replay::new(Accounting::new(&Settings::default()));
    let errors = replay.run_open(vec![capture], &mut engine, drop);
    ensure!(errors.is_empty(), "the capture is damaged");
    Ok(replay.tally().packets)
}

/// Hears records and does nothing.
struct Nobody;

impl Records for Nobody {
    fn flow(&mut self, _: &FlowRecord) {}
    fn turn(&mut self, _: &TurnRecord) {}
    fn payload(&mut self, _: &PayloadRecord, _: &[u8]) {}
}

fn account(mut capture: Capture) -> Result<u64> {
    let (mut accounting, mut packets) = (Accounting::new(&Settings::default()), 0);
    while let Some(frame) = capture.next_frame()? {
        let layer = network_layer(frame.link, frame.data).context("no link layer")?;
        if let Ok(packet) = Packet::from_network(frame.data, layer.ethertype, layer.offset, frame.wire_len) {
            let arrival =
                Arrival { packet: &packet, frame: frame.data, wire_len: frame.wire_len, time_ns: frame.time_ns };
            accounting.account(&arrival, &mut Nobody);
        }
        packets += 1;
    }
    Ok(packets)
}

fn parse(mut capture: Capture) -> Result<u64> {
    let mut packets = 0;
    while let Some(frame) = capture.next_frame()? {
        let layer = network_layer(frame.link, frame.data).context("no link layer")?;
        std::hint::black_box(Packet::from_network(frame.data, layer.ethertype, layer.offset, frame.wire_len).is_ok());
        packets += 1;
    }
    Ok(packets)
}

/// Sixty people browse and ask for names, some download, eight implants call home.
fn traffic(until: Duration) -> (Arc<[u8]>, u64) {
    let mut tape = Tape::new(Link::Ethernet);
    let mut dice = Dice::new(1);
    let servers: Vec<SocketAddr> = (1..=200).map(|host| (Ipv4Addr::new(203, 0, 113, host), 443).into()).collect();
    for person in 0..60 {
        let from = Ipv4Addr::new(10, 1, 0, person + 1);
        let pause = Duration::from_secs(20);
        Browsing { from: from.into(), servers: &servers, pause, until, seed: u64::from(person) }.put(&mut tape);
        let mut at = Duration::from_secs_f64(dice.between(0.0, 20.0));
        while at < until {
            let route = Route::new((from, 40_000 + dice.whole(0, 9_000) as u16), (Ipv4Addr::new(10, 1, 1, 1), 53));
            datagrams(&mut tape, at, route, [&query(&mut dice), &query(&mut dice)]);
            at += Duration::from_secs_f64(dice.lognormal(12.0, 1.2));
        }
        if person % 4 == 0 {
            let begin = until.mul_f64(dice.between(0.05, 0.9));
            download(&mut tape, begin, from, servers[usize::from(person)], &mut dice);
        }
    }
    for implant in 0..8 {
        let calls = Calls {
            path: Route::new((Ipv4Addr::new(10, 1, 2, implant + 1), 50_000), ([198, 51, 100, 9], 443)),
            timer: Timer::new(Duration::from_secs(60), Jitter::Above(0.2)),
            look: Look::Tls { name: Some("updates.example".to_owned()) },
            lengths: Lengths { request: 240, answer: 180 },
            spread: 40,
            count: until.as_secs() as usize / 66,
            first: Duration::from_secs(5),
            seed: u64::from(implant),
        };
        calls.apart(&mut tape);
    }
    let packets = tape.packets();
    (Format::pcap(Link::Ethernet).write(&packets).into(), packets.len() as u64)
}

fn download(tape: &mut Tape, begin: Duration, from: Ipv4Addr, server: SocketAddr, dice: &mut Dice) {
    let look = Look::Tls { name: Some("mirror.example".to_owned()) };
    let (mut connection, ready) = Tcp::open(tape, begin, Route::new((from, 48_000), server), dice);
    let request = look.request(true, 517, dice);
    let answer = look.answer(true, 20_000_000, dice);
    let done = connection.exchange(tape, ready, &request, &answer);
    connection.close(tape, done);
}

fn query(dice: &mut Dice) -> Vec<u8> {
    let name = format!("host{:04}", dice.whole(0, 999));
    [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8][..], name.as_bytes(), b"\x07example\0", &[0, 1, 0, 1]].concat()
}
