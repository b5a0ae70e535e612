//! A pcapng file of what is held of a finding, with comments that say what it is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use netd_common::key::ConversationKey;
use netd_engine::finding::Finding;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness, PcapError};

use super::frame::{self, Known};
use crate::store::evidence::Piece;

/// What every capture says of itself.
pub(super) const NOTE: &str = "netd keeps the first payload of each side, no packets: headers rebuilt from the flow \
                               record, payload as it was on the wire";

/// Longest text of a comment's part, in characters: names and command lines come from strangers.
const LONGEST: usize = 500;

/// Writes the pieces, by time, below rebuilt headers.
pub(super) fn write(finding: &Finding, pieces: &[Arc<Piece>]) -> Result<Vec<u8>, PcapError> {
    let about = about(finding);
    let section = SectionHeaderBlock {
        endianness: Endianness::Little,
        options: vec![
            SectionHeaderOption::Comment(Cow::Owned(format!("{about}\n{NOTE}"))),
            SectionHeaderOption::UserApplication(Cow::Borrowed(concat!("netd ", env!("CARGO_PKG_VERSION")))),
        ],
        ..SectionHeaderBlock::default()
    };
    let mut writer = PcapNgWriter::with_section_header(Vec::new(), section)?;
    writer.write_pcapng_block(InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: 0,
        options: vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed("netd")),
            // Nanoseconds.
            InterfaceDescriptionOption::IfTsResol(9),
        ],
    })?;
    // The next sequence number of each side, by conversation and direction.
    let mut next: HashMap<(ConversationKey, bool), u32> = HashMap::new();
    let mut seen = std::collections::HashSet::new();
    for packet in packets(pieces) {
        let Packet { first, payload } = &packet;
        let key = first.conversation();
        let is_forward = first.flow.src.ip() == finding.pair.originator
            && (first.flow.dst_port() == finding.pair.responder_port
                || finding.pair.originator != finding.pair.responder);
        let known = Known {
            flow: &first.flow,
            is_forward,
            sequence: first.sequence,
            acknowledged: next.get(&(key, !is_forward)).copied(),
            payload,
        };
        let data = frame::build(&known);
        let end = first.sequence.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
        next.insert((key, is_forward), end);
        let mut comment = match seen.insert(key) {
            true => format!("{about}\n{NOTE}"),
            false => format!("netd finding {}: headers rebuilt from the flow record", finding.id),
        };
        let held = first.offset as usize + payload.len();
        if held < first.wire_len as usize {
            comment.push_str(&format!("; {} of {} payload bytes", payload.len(), first.wire_len));
        }
        writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_nanos(first.time.0),
            original_len: u32::try_from(data.len()).unwrap_or(u32::MAX),
            data: Cow::Owned(data),
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment))],
        })?;
    }
    Ok(writer.into_inner())
}

struct Packet {
    first: Arc<Piece>,
    payload: Vec<u8>,
}

/// Joins the pieces of datagrams that took several; TCP needs no joining, its bytes have numbers.
fn packets(pieces: &[Arc<Piece>]) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    for piece in pieces {
        let continues = |packet: &&mut Packet| {
            let first = &packet.first;
            let place = first.offset as usize + packet.payload.len();
            piece.flow.proto != 6
                && piece.offset as usize == place
                && piece.offset > 0
                && (first.time, first.flow, first.wire_len) == (piece.time, piece.flow, piece.wire_len)
        };
        match packets.last_mut().filter(continues) {
            Some(packet) => packet.payload.extend_from_slice(&piece.bytes),
            None => packets.push(Packet { first: Arc::clone(piece), payload: piece.bytes.to_vec() }),
        }
    }
    packets
}

/// Says what was found, of whom, how surely.
fn about(finding: &Finding) -> String {
    let Finding { id, detector, title, severity, score, process, techniques, .. } = finding;
    let severity = format!("{severity:?}").to_lowercase();
    let mut about = format!("netd finding {id}: {severity} {detector}, {}, score {score:.4}", bounded(title));
    if let Some(process) = process {
        let line = if process.args.is_empty() { process.comm.clone() } else { process.args.join(" ") };
        about.push_str(&format!("\nprocess {} {}: {}", process.id.pid, bounded(&process.comm), bounded(&line)));
    }
    for technique in techniques {
        about.push_str(&format!("\nATT&CK {} {}", technique.id, technique.name));
    }
    about
}

fn bounded(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use netd_engine::finding::Severity;
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;
    use crate::store::evidence::Evidence;
    use crate::store::evidence::tests::{flow, pair, record};
    use crate::store::findings_for_tests::finding;

    fn evidence() -> Evidence {
        let evidence = Evidence::new(1 << 20);
        evidence.take(&record(flow(1), 1, 100, 5), b"hello");
        evidence.take(&record(flow(1).reversed(), 2, 900, 5), b"there");
        evidence
    }

    #[test]
    fn a_capture_says_what_it_is_and_holds_the_payload() {
        let held = evidence().of(7, &pair());

        let file = write(&finding(7, Severity::High, 0.9), &held.pieces).unwrap();

        let mut reader = PcapNgReader::new(&file[..]).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                let EnhancedPacketOption::Comment(comment) = &packet.options[0] else { panic!("no comment") };
                packets.push((packet.data.to_vec(), comment.to_string(), packet.timestamp));
            }
        }
        assert_eq!(packets.len(), 2);
        assert!(packets[0].0.ends_with(b"hello") && packets[1].0.ends_with(b"there"));
        for part in ["netd finding 7: high beacon", "score 0.9000", "T1071.001", "headers rebuilt"] {
            assert!(packets[0].1.contains(part), "{part} is not in {}", packets[0].1);
        }
        assert_eq!(packets[0].2, Duration::from_secs(1_800_000_001));
        // What the second packet acknowledges is the end of the first.
        assert_eq!(packets[1].0[14 + 20 + 8..14 + 20 + 12], 105_u32.to_be_bytes());
    }

    #[test]
    fn nothing_held_is_a_capture_without_packets() {
        let file = write(&finding(7, Severity::High, 0.9), &[]).unwrap();

        assert!(PcapNgReader::new(&file[..]).unwrap().next_block().is_some());
    }

    #[test]
    fn tshark_reads_it_where_there_is_one() {
        let held = evidence().of(7, &pair());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evidence.pcapng");
        std::fs::write(&path, write(&finding(7, Severity::High, 0.9), &held.pieces).unwrap()).unwrap();
        let fields = ["frame.comment", "tcp.payload", "tcp.checksum.status", "_ws.malformed"];
        let mut command = std::process::Command::new("tshark");
        command.arg("-r").arg(&path).args(["-o", "tcp.check_checksum:TRUE", "-T", "fields"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let Ok(output) = command.output() else {
            let mut stderr = std::io::stderr();
            let _ = std::io::Write::write_all(&mut stderr, b"LEFT OUT: tshark is not installed\n");
            return;
        };

        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("netd finding 7") && text.contains("68656c6c6f"), "{text}");
        for line in text.lines().filter(|line| line.contains("netd finding")) {
            assert!(line.ends_with("\t1\t"), "a wrong checksum, or malformed: {line}");
        }
    }
}
