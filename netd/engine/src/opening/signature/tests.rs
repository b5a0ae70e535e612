use proptest::prelude::*;

use super::*;
use Protocol as P;
use Speaker::{Originator, Responder};

fn stream(bytes: &[u8], speaker: Speaker) -> Option<Protocol> {
    of_stream(bytes, speaker)
}

/// Begins with `begin`, and is `len` bytes long.
fn filled(begin: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = begin.to_vec();
    bytes.resize(len, 0);
    bytes
}

#[test]
fn clients_are_known_by_their_first_bytes() {
    let postgres = b"\0\0\0\x14\0\x03\0\0user\0postgres";
    let kerberos = [&[0, 0, 0, 20, 0x6a, 0x12, 0x30, 0x10, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 10][..], &[0; 6]].concat();
    let rdp = [&[3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0][..], &[1, 0, 8, 0, 3, 0, 0, 0]].concat();
    let adb = [&b"CNXN\x01\0\0\x01\0\0\x10\0\x07\0\0\0\x32\x02\0\0"[..], &[0xbc, 0xb1, 0xa7, 0xb1]].concat();
    let cases: [(&[u8], P); 22] = [
        (b"SSH-2.0-OpenSSH_9.6\r\n", P::Ssh),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", P::Http2),
        (b"EHLO mail.example.org\r\n", P::Smtp),
        (b"NICK bee\r\nUSER bee 0 * :Bee\r\n", P::Irc),
        (b"CAP LS 302\r\n", P::Irc),
        (b"AUTH TLS\r\n", P::Ftp),
        (b"a1 LOGIN bee secret\r\n", P::Imap),
        (b"*1\r\n$4\r\nPING\r\n", P::Redis),
        (b"\0\0\0\x2f\xfeSMB@\0", P::Smb),
        (b"\x13BitTorrent protocol\0\0", P::BitTorrent),
        (&[0xff, 0xfd, 3, 0xff, 0xfb, 24], P::Telnet),
        (b"AMQP\0\0\x09\x01", P::Amqp),
        (b"l\0\x0b\0\0\0\0\0\0\0\0\0", P::X11),
        (&[5, 2, 0, 2], P::Socks),
        (&[4, 1, 1, 0xbb, 192, 0, 2, 7, 0], P::Socks),
        (b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02ab", P::Mqtt),
        (&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f], P::Postgres),
        (&[0x30, 12, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0], P::Ldap),
        (&rdp, P::Rdp),
        (&adb, P::Adb),
        (&kerberos, P::Kerberos),
        (b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01", P::Dns),
    ];
    for (bytes, protocol) in cases {
        assert_eq!(stream(bytes, Originator), Some(protocol), "{}", bytes.escape_ascii());
    }
    let mut postgres = postgres.to_vec();
    postgres[3] = postgres.len() as u8;
    assert_eq!(stream(&postgres, Originator), Some(P::Postgres));
}

#[test]
fn servers_that_speak_first_are_known_by_what_they_say() {
    let mysql = [&[20, 0, 0, 0, 10][..], b"8.0.36\0", &[0; 12]].concat();
    let cases: [(&[u8], P); 9] = [
        (b"SSH-2.0-dropbear\r\n", P::Ssh),
        (b"220 mail.example.org ESMTP Postfix\r\n", P::Smtp),
        (b"220 (vsFTPd 3.0.5)\r\n", P::Ftp),
        (b"+OK POP3 ready\r\n", P::Pop3),
        (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", P::Imap),
        (b":irc.example.org NOTICE * :*** Looking up your hostname\r\n", P::Irc),
        (b"RFB 003.008\n", P::Vnc),
        (b"HTTP/1.1 200 OK\r\n", P::Http),
        (&mysql, P::MySql),
    ];
    for (bytes, protocol) in cases {
        assert_eq!(stream(bytes, Responder), Some(protocol), "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_nearly_a_protocol_is_none() {
    let s7 = [3, 0, 0, 22, 17, 0xe0, 0, 0, 0, 1, 0, 0xc0, 1, 10, 0xc1, 2, 1, 0, 0xc2, 2, 1, 2];
    let cases: [&[u8]; 11] = [
        b"",
        b"id\n",
        b"USER bee\r\n",
        b"220 ready\r\n",
        b"NICKNAME bee\r\n",
        b"*1 dollar\r\n",
        &[5, 2, 0],
        &[5, 1, 0x55],
        &[0xff, 0xfd],
        &[0x30, 12, 2, 1, 1, 0x60, 7, 2, 1, 9, 4, 0, 0x80, 0],
        &s7,
    ];
    for bytes in cases {
        assert_eq!(stream(bytes, Originator), None, "{}", bytes.escape_ascii());
    }
    assert_eq!(stream(b"220 ready\r\n", Responder), None, "mail or files: only the client tells");
}

#[test]
fn datagrams_are_known_by_their_first_bytes() {
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let mut dhcp = filled(&[1, 1, 6, 0], 300);
    dhcp[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    let mut ike = filled(&[7; 8], 28);
    ike[17..19].copy_from_slice(&[0x20, 34]);
    ike[27] = 28;
    let snmp = [&[0x30, 13, 2, 1, 1, 4, 6][..], b"public", &[0xa0, 0]].concat();
    let dht = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    let openvpn = [&[0x38][..], &[9; 8], &[0; 5]].concat();
    let cases: [(Vec<u8>, P); 13] = [
        (filled(&[0xc3, 0, 0, 0, 1, 4, 1, 2, 3, 4, 0], 1_200), P::Quic),
        (filled(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20], 33), P::Dtls),
        (stun, P::Stun),
        (filled(&[1, 0, 0, 0, 5], 148), P::WireGuard),
        (openvpn, P::OpenVpn),
        (dhcp, P::Dhcp),
        (ike, P::Ike),
        (snmp, P::Snmp),
        (dht.to_vec(), P::BitTorrent),
        (b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n".to_vec(), P::Ssdp),
        (filled(&[0x23, 0, 6, 0xec], 48), P::Ntp),
        (b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01".to_vec(), P::Dns),
        (b"REGISTER sip:example.org SIP/2.0\r\n".to_vec(), P::Sip),
    ];
    for (bytes, protocol) in cases {
        assert_eq!(of_datagram(&bytes), Some(protocol), "{protocol:?}");
    }
}

#[test]
fn the_mode_of_ntp_is_told() {
    assert_eq!(ntp_mode(&filled(&[0x23], 48)), Some(3), "a client that tells nothing of itself");
    assert_eq!(ntp_mode(&filled(&[0x24, 2, 6, 0xe9], 68)), Some(4), "a server, with a MAC");
    assert_eq!(ntp_mode(&filled(&[0x16, 2], 12)), Some(6), "a query of a server's state");
}

#[test]
fn a_dns_message_whose_identifier_looks_like_ntp_is_dns() {
    let query = b"\x1b\x00\x01\0\0\x01\0\0\0\0\0\0\x0fa-longer-domain\x07example\x03org\0\0\x01\0\x01";
    let padded = filled(query, 48);

    assert!(ntp_mode(&padded).is_some(), "it would pass");
    assert_eq!(of_datagram(&padded), Some(P::Dns));
}

#[test]
fn what_only_borrows_the_port_of_ntp_has_no_mode() {
    for bytes in [&b"hello, who are you? this is a rather long message indeed"[..], &[0x23; 48], &filled(&[0x23], 40)] {
        assert_eq!(ntp_mode(bytes), None, "{}", bytes.escape_ascii());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn noise_is_no_danger(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        of_stream(&bytes, Originator);
        of_stream(&bytes, Responder);
        of_datagram(&bytes);
    }
}

#[test]
fn noise_is_rarely_taken_for_a_protocol() {
    use rand::{RngCore, SeedableRng};

    const DRAWS: u32 = 200_000;
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let (mut streams, mut datagrams) = (0, 0);
    for _ in 0..DRAWS {
        let mut bytes = [0; 48];
        dice.fill_bytes(&mut bytes);
        streams += u32::from(of_stream(&bytes, Originator).is_some());
        datagrams += u32::from(of_datagram(&bytes).is_some());
    }

    assert!(streams < DRAWS / 10_000, "{streams} of {DRAWS}");
    assert!(datagrams < DRAWS / 500, "{datagrams} of {DRAWS}");
}
