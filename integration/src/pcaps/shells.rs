//! Captures of interactive sessions: a shell that calls back, and one that somebody opens.

use std::time::Duration;

use super::ordinary::neighbours;
use super::{Capture, Expected, Found};
use crate::capture::Format;
use crate::frames::Link;
use crate::lab::{C2, IMPLANT, PEOPLE, WEB};
use crate::synth::{Path, Side, Tape, Tcp};
use crate::traffic::dice::Dice;

pub(super) fn all() -> Vec<Capture> {
    vec![reverse(), forward()]
}

/// Commands and what they print, as many bytes as it says.
const COMMANDS: [(&str, usize); 12] = [
    ("id\n", 54),
    ("uname -a\n", 118),
    ("pwd\n", 14),
    ("ls -la\n", 640),
    ("cat /etc/passwd\n", 1_830),
    ("ps aux\n", 5_200),
    ("whoami\n", 9),
    ("ip addr\n", 720),
    ("find / -perm -4000 2>/dev/null\n", 960),
    ("cd /tmp\n", 0),
    ("ls\n", 48),
    ("exit\n", 5),
];

/// A shell without a terminal, driven by the side that it connected to.
fn reverse() -> Capture {
    const PROMPT: &str = "sh-5.1$ ";
    let path = Path::new((IMPLANT, 50_210), (C2, 4_444));
    let mut tape = Tape::new(Link::Ethernet);
    let (mut typing, mut payloads) = (Dice::new(61), Dice::new(62));
    let (mut connection, open) = Tcp::open(&mut tape, Duration::from_secs(20), path, &mut payloads);
    let greeting = format!("sh: cannot set terminal process group (812)\nsh: no job control in this shell\n{PROMPT}");
    connection.data(&mut tape, open, Side::Client, greeting.as_bytes());
    let mut at = open;
    for (command, printed) in COMMANDS {
        at += pause(&mut typing);
        connection.data(&mut tape, at, Side::Server, command.as_bytes());
        let output = format!("{}{PROMPT}", text(printed, &mut payloads));
        connection.data(&mut tape, at + path.round_trip, Side::Client, output.as_bytes());
    }
    connection.close(&mut tape, at + Duration::from_secs(1));
    neighbours(&mut tape, Duration::from_secs(400), 95);
    let about = "A host connects out and offers a shell in clear text; somebody types into it from the other side.";
    let found = Found {
        detector: "reverse_shell",
        originator: path.client,
        responder: path.server,
        protocol: "tcp",
        rhythm: None,
        block: Some(false),
    };
    Capture::new("reverse-shell", Format::pcap(Link::Ethernet), tape.packets(), Expected::found(about, found))
}

/// The same work the right way round: somebody opens a session with a server, types, and reads what it echoes.
fn forward() -> Capture {
    let path = Path::new((PEOPLE[0], 50_220), (WEB[0], 23));
    let mut tape = Tape::new(Link::Ethernet);
    let (mut typing, mut payloads) = (Dice::new(63), Dice::new(64));
    let (mut connection, open) = Tcp::open(&mut tape, Duration::from_secs(5), path, &mut payloads);
    // WILL and DO of a few options, then the prompt.
    connection.data(&mut tape, open, Side::Server, b"\xff\xfd\x18\xff\xfd\x20\xff\xfb\x03\xff\xfb\x01login: ");
    connection.data(
        &mut tape,
        open + path.round_trip,
        Side::Client,
        b"\xff\xfb\x18\xff\xfc\x20\xff\xfd\x03\xff\xfd\x01",
    );
    let mut at = open;
    for (command, printed) in COMMANDS {
        at += pause(&mut typing);
        let mut key_at = at;
        for key in command.bytes() {
            // Every key is a packet, and its echo another.
            connection.data(&mut tape, key_at, Side::Client, &[key]);
            connection.data(&mut tape, key_at + path.round_trip, Side::Server, &[key]);
            key_at += Duration::from_millis(typing.whole(60, 260) as u64);
        }
        let output = format!("{}$ ", text(printed, &mut payloads));
        connection.data(&mut tape, key_at + path.round_trip, Side::Server, output.as_bytes());
        at = key_at;
    }
    connection.close(&mut tape, at + Duration::from_secs(1));
    let about = "Somebody opens a telnet session with a server and types into it for a few minutes.";
    Capture::new("telnet", Format::pcapng(Link::Ethernet), tape.packets(), Expected::nothing(about))
}

/// How long people think between commands.
fn pause(dice: &mut Dice) -> Duration {
    Duration::from_secs_f64(dice.lognormal(6.0, 0.9).clamp(0.9, 55.0))
}

/// Printable lines.
fn text(length: usize, dice: &mut Dice) -> String {
    (1..=length)
        .map(|at| if at % 64 == 0 || at == length { '\n' } else { char::from(b'a' + dice.whole(0, 25) as u8) })
        .collect()
}
