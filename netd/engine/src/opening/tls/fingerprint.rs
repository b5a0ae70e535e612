//! JA3 and JA4 of a ClientHello.
//!
//! JA3 is by J. Althouse, J. Atkinson and J. Atkins (Salesforce, BSD-3-Clause), JA4 by J. Althouse (FoxIO,
//! BSD-3-Clause for the TLS client's fingerprint). Reserved values (GREASE, RFC 8701) count in neither.

use std::fmt::Write;

use md5::{Digest, Md5};
use sha2::Sha256;

use super::hello::Offer;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// What JA4 writes in place of the digest of an empty list.
const EMPTY: &str = "000000000000";

/// What carries a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::opening) enum Carrier {
    Tcp,
    Quic,
    Dtls,
}

/// A value that clients send to keep servers tolerant, and that tells nothing.
pub(super) const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Returns the JA3 fingerprint: the MD5 of version, ciphers, extensions, groups and point formats.
pub(super) fn ja3(offer: &Offer) -> String {
    hex(&Md5::digest(ja3_text(offer)))
}

fn ja3_text(offer: &Offer) -> String {
    let list = |values: &[u16]| {
        let values: Vec<String> = values.iter().filter(|value| !is_grease(**value)).map(ToString::to_string).collect();
        values.join("-")
    };
    let points: Vec<u16> = offer.point_formats.iter().copied().map(u16::from).collect();
    format!(
        "{},{},{},{},{}",
        offer.version,
        list(&offer.ciphers),
        list(&offer.extensions),
        list(&offer.groups),
        list(&points)
    )
}

/// Returns the JA4 fingerprint.
pub(super) fn ja4(offer: &Offer, carrier: Carrier) -> String {
    let plain = |values: &[u16]| -> Vec<u16> { values.iter().copied().filter(|value| !is_grease(*value)).collect() };
    let (ciphers, extensions) = (plain(&offer.ciphers), plain(&offer.extensions));
    let rest: Vec<u16> =
        extensions.iter().copied().filter(|extension| !matches!(*extension, SERVER_NAME | ALPN)).collect();
    let mut signed = hex_list(&sorted(rest.clone()));
    let signatures = plain(&offer.signature_algorithms);
    if !signatures.is_empty() {
        signed = format!("{signed}_{}", hex_list(&signatures));
    }
    let carrier_letter = match carrier {
        Carrier::Tcp => 't',
        Carrier::Quic => 'q',
        Carrier::Dtls => 'd',
    };
    format!(
        "{carrier_letter}{}{}{:02}{:02}{}_{}_{}",
        version(offer.highest_version(carrier)),
        if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' },
        ciphers.len().min(99),
        extensions.len().min(99),
        alpn(offer.alpn.as_deref().unwrap_or_default()),
        if ciphers.is_empty() { EMPTY.to_owned() } else { digest(&hex_list(&sorted(ciphers))) },
        if rest.is_empty() { EMPTY.to_owned() } else { digest(&signed) }
    )
}

const fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of the first protocol offered, or of its hexadecimal form where one is not alphanumeric.
fn alpn(first: &[u8]) -> String {
    let (Some(begin), Some(end)) = (first.first(), first.last()) else { return "00".to_owned() };
    if begin.is_ascii_alphanumeric() && end.is_ascii_alphanumeric() {
        return [char::from(*begin), char::from(*end)].iter().collect();
    }
    format!("{:x}{:x}", begin >> 4, end & 15)
}

fn sorted(mut values: Vec<u16>) -> Vec<u16> {
    values.sort_unstable();
    values
}

fn hex_list(values: &[u16]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:04x}")).collect();
    values.join(",")
}

fn digest(text: &str) -> String {
    let mut digest = hex(&Sha256::digest(text));
    digest.truncate(EMPTY.len());
    digest
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of FoxIO's description of JA4, GREASE added.
    fn foxio() -> Offer {
        Offer {
            version: 0x0303,
            versions: vec![0x3a3a, 0x0304, 0x0303],
            ciphers: vec![
                0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
                0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x1a1a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b,
                0xff01, 0x000b, 0x000a, 0x0015,
            ],
            signature_algorithms: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            alpn: Some(b"h2".to_vec()),
            ..Offer::default()
        }
    }

    #[test]
    fn ja4_is_that_of_the_published_example() {
        assert_eq!(ja4(&foxio(), Carrier::Tcp), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn ja4_without_signature_algorithms_is_that_of_the_published_example() {
        let offer = Offer { signature_algorithms: Vec::new(), ..foxio() };

        assert!(ja4(&offer, Carrier::Tcp).ends_with("_6d807ffa2a79"));
    }

    #[test]
    fn ja4_of_quic_has_the_cipher_digest_that_every_browser_shares() {
        let offer = Offer { ciphers: vec![0x1301, 0x1302, 0x1303], alpn: Some(b"h3".to_vec()), ..foxio() };

        assert!(ja4(&offer, Carrier::Quic).starts_with("q13d0316h3_55b375c5d22e_"));
    }

    #[test]
    fn ja4_of_an_empty_offer_has_zeros() {
        let offer = Offer { version: 0x0301, ..Offer::default() };

        assert_eq!(ja4(&offer, Carrier::Tcp), "t10i000000_000000000000_000000000000");
    }

    #[test]
    fn the_alpn_characters_are_those_of_the_published_examples() {
        let cases: [(&[u8], &str); 8] = [
            (b"", "00"),
            (b"h", "hh"),
            (b"http/1.1", "h1"),
            (&[0xab], "ab"),
            (&[0xab, 0xcd], "ad"),
            (&[0x30, 0xab], "3b"),
            (&[0x30, 0x31, 0xab, 0xcd], "3d"),
            (&[0x30, 0xab, 0xcd, 0x31], "01"),
        ];
        for (first, characters) in cases {
            assert_eq!(alpn(first), characters, "{first:x?}");
        }
    }

    #[test]
    fn ja3_is_that_of_the_published_examples() {
        let offer = Offer {
            version: 769,
            ciphers: vec![0x2a2a, 47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4],
            extensions: vec![0, 10, 11, 0xfafa],
            groups: vec![0x8a8a, 23, 24, 25],
            point_formats: vec![0],
            ..Offer::default()
        };
        assert_eq!(ja3_text(&offer), "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
        assert_eq!(ja3(&offer), "ada70206e40642a3e4461f35503241d5");

        let bare = Offer { version: 769, ciphers: vec![4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99], ..Offer::default() };
        assert_eq!(ja3_text(&bare), "769,4-5-10-9-100-98-3-6-19-18-99,,,");
        assert_eq!(ja3(&bare), "de350869b8c85de67a350c8d186f11e6");
    }
}
