//! CRYPTO frames (RFC 9000, 19.6): a stream of bytes in pieces of any order.

use super::varint;

/// Longest ClientHello put together.
const LONGEST: usize = 8_192;
/// Frames read of one packet.
const MOST_FRAMES: usize = 512;

const PADDING: u64 = 0x00;
const PING: u64 = 0x01;
const ACK: u64 = 0x02;
const ACK_ECN: u64 = 0x03;
const CRYPTO: u64 = 0x06;

/// The stream of CRYPTO frames.
#[derive(Debug, Default)]
pub(in crate::opening) struct Crypto {
    bytes: Vec<u8>,
    is_known: Vec<bool>,
    /// Known without a gap from the beginning.
    prefix: usize,
}

impl Crypto {
    /// Takes in the frames of one Initial packet. Frames that have no place in one end the reading.
    pub(in crate::opening) fn read(&mut self, payload: &[u8]) {
        self.frames(payload);
        while self.is_known.get(self.prefix) == Some(&true) {
            self.prefix += 1;
        }
    }

    fn frames(&mut self, mut payload: &[u8]) -> Option<()> {
        for _ in 0..MOST_FRAMES {
            // Padding is most of a packet, and a frame for each of its bytes.
            let padding = payload.iter().take_while(|byte| u64::from(**byte) == PADDING).count();
            let (kind, body) = varint(&payload[padding..])?;
            payload = match kind {
                PING => body,
                ACK | ACK_ECN => after_ack(body, kind == ACK_ECN)?,
                CRYPTO => {
                    let (offset, body) = varint(body)?;
                    let (len, body) = varint(body)?;
                    let (data, after) = body.split_at_checked(usize::try_from(len).ok()?)?;
                    self.put(offset, data);
                    after
                }
                _ => return None,
            };
        }
        None
    }

    fn put(&mut self, offset: u64, data: &[u8]) {
        let Ok(begin) = usize::try_from(offset) else { return };
        let Some(end) = begin.checked_add(data.len()).filter(|end| *end <= LONGEST) else { return };
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.is_known.resize(end, false);
        }
        self.bytes[begin..end].copy_from_slice(data);
        self.is_known[begin..end].fill(true);
    }

    /// Returns the bytes known without a gap from the beginning.
    pub(in crate::opening) fn prefix(&self) -> &[u8] {
        &self.bytes[..self.prefix]
    }
}

/// Skips an ACK frame (RFC 9000, 19.3).
fn after_ack(body: &[u8], has_counts: bool) -> Option<&[u8]> {
    let (_largest, body) = varint(body)?;
    let (_delay, body) = varint(body)?;
    let (ranges, body) = varint(body)?;
    let (_first, mut body) = varint(body)?;
    let numbers = ranges.checked_mul(2)?.checked_add(if has_counts { 3 } else { 0 })?;
    for _ in 0..numbers {
        (_, body) = varint(body)?;
    }
    Some(body)
}
