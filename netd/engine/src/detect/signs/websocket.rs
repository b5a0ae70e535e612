//! What is inside WebSocket frames (RFC 6455, 5.2).

const BINARY_OR_TEXT: [u8; 2] = [0x81, 0x82];
const MASKED: u8 = 0x80;
const BANNER: &[u8] = b"SSH-2.0-";

/// Returns whether a frame, masked or not, begins with an SSH banner.
pub(super) fn carries_ssh(bytes: &[u8]) -> bool {
    let [first, second, rest @ ..] = bytes else { return false };
    if !BINARY_OR_TEXT.contains(first) {
        return false;
    }
    let extended = match second & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(rest) = rest.get(extended..) else { return false };
    if second & MASKED == 0 {
        return rest.starts_with(BANNER);
    }
    let Some((mask, body)) = rest.split_first_chunk::<4>() else { return false };
    let unmasked = body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    body.len() >= BANNER.len() && unmasked.zip(BANNER).all(|(byte, wanted)| byte == *wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banner_is_seen_in_frames_of_both_sides() {
        let open = [&[0x82, 19][..], b"SSH-2.0-OpenSSH_9.6"].concat();
        let mask = [0x24, 0x7b, 0x87, 0xce];
        let body = b"SSH-2.0-OpenSSH_9.6".iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let masked: Vec<u8> = [0x82, 0x80 | 19].into_iter().chain(mask).chain(body).collect();

        assert!(carries_ssh(&open));
        assert!(carries_ssh(&masked));
    }

    #[test]
    fn other_frames_carry_none() {
        assert!(!carries_ssh(b"\x81\x05hello"));
        assert!(!carries_ssh(b"\x82\x85\x01\x02\x03\x04\x05"));
        assert!(!carries_ssh(b"SSH-2.0-OpenSSH"));
        assert!(!carries_ssh(b"\x82\x7f\x00"));
    }
}
