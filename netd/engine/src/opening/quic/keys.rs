//! The protection of a client's Initial packets (RFC 9001, 5).

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey, quic};
use ring::hkdf::{self, HKDF_SHA256, KeyType, Prk, Salt};

use super::Version;

/// RFC 9001, 5.2.
const SALT_V1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f,
    0x0a,
];
/// RFC 9369, 3.3.1.
const SALT_V2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e,
    0xd9,
];
const SAMPLE_LEN: usize = 16;
const LONGEST_NUMBER: usize = 4;

/// The keys of what the client sends.
pub(super) struct ClientKeys {
    packet: LessSafeKey,
    iv: [u8; NONCE_LEN],
    header: quic::HeaderProtectionKey,
}

struct IvLen;

impl KeyType for IvLen {
    fn len(&self) -> usize {
        NONCE_LEN
    }
}

impl ClientKeys {
    /// Derives the keys from the destination connection ID of the client's first packet. HKDF cannot fail at these
    /// lengths; `None` stands for ring's say-so.
    pub(super) fn new(version: Version, destination: &[u8]) -> Option<Self> {
        let (salt, labels) = match version {
            Version::V1 => (SALT_V1, ["quic key", "quic iv", "quic hp"]),
            Version::V2 => (SALT_V2, ["quicv2 key", "quicv2 iv", "quicv2 hp"]),
        };
        let initial = Salt::new(HKDF_SHA256, &salt).extract(destination);
        let client: Prk = expand(&initial, "client in", HKDF_SHA256, |okm| Ok(okm.into()))?;
        let [key, iv, header] = labels;
        Some(Self {
            packet: LessSafeKey::new(expand(&client, key, &AES_128_GCM, |okm| Ok(UnboundKey::from(okm)))?),
            iv: expand(&client, iv, IvLen, |okm| {
                let mut iv = [0; NONCE_LEN];
                okm.fill(&mut iv)?;
                Ok(iv)
            })?,
            header: expand(&client, header, &quic::AES_128, |okm| Ok(okm.into()))?,
        })
    }

    /// Removes the protection of a packet whose first `header_len` bytes are in the clear but for the first one's low
    /// bits; returns its payload, or `None` where it was not sealed with these keys.
    pub(super) fn open(&self, packet: &[u8], header_len: usize) -> Option<Vec<u8>> {
        let sample = packet.get(header_len + LONGEST_NUMBER..header_len + LONGEST_NUMBER + SAMPLE_LEN)?;
        let [first_mask, number_mask @ ..] = self.header.new_mask(sample).ok()?;
        let mut header = packet.get(..header_len + LONGEST_NUMBER)?.to_vec();
        header[0] ^= first_mask & 0x0f;
        let number_len = usize::from(header[0] & 0b11) + 1;
        for (byte, mask) in header[header_len..].iter_mut().zip(number_mask) {
            *byte ^= mask;
        }
        header.truncate(header_len + number_len);
        // The first packets of a connection: their numbers are not abbreviated.
        let number = header[header_len..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let mut payload = packet.get(header.len()..)?.to_vec();
        let opened = self.packet.open_in_place(self.nonce(number), Aad::from(&header), &mut payload).ok()?.len();
        payload.truncate(opened);
        Some(payload)
    }

    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, part) in nonce[NONCE_LEN - 8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// HKDF-Expand-Label without context (RFC 8446, 7.1).
fn expand<L: KeyType, T>(
    secret: &Prk,
    label: &str,
    len: L,
    take: impl FnOnce(hkdf::Okm<'_, L>) -> Result<T, ring::error::Unspecified>,
) -> Option<T> {
    const PREFIX: &[u8] = b"tls13 ";
    let out_len = u16::try_from(len.len()).ok()?.to_be_bytes();
    let label_len = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let info = [&out_len[..], &label_len, PREFIX, label.as_bytes(), &[0]];
    take(secret.expand(&info, len).ok()?).ok()
}

#[cfg(test)]
impl ClientKeys {
    /// Protects a payload; `header` ends with a packet number of four bytes.
    pub(super) fn seal(&self, header: &[u8], number: u32, payload: &[u8]) -> Vec<u8> {
        let mut sealed = payload.to_vec();
        self.packet.seal_in_place_append_tag(self.nonce(u64::from(number)), Aad::from(header), &mut sealed).unwrap();
        let mask = self.header.new_mask(&sealed[..SAMPLE_LEN]).unwrap();
        let mut packet = header.to_vec();
        let number_at = packet.len() - LONGEST_NUMBER;
        packet[0] ^= mask[0] & 0x0f;
        for (byte, mask) in packet[number_at..].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        packet.extend(sealed);
        packet
    }
}
