//! The protocols told apart by their first bytes, and the ports at which each is at home.

use serde::{Serialize, Serializer};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The protocol that a conversation's first bytes speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Nothing was heard.
    #[default]
    Unknown,
    /// Heard, printable, but of no known protocol.
    Text,
    /// Heard, not printable, of no known protocol.
    Binary,
    Adb,
    Amqp,
    BitTorrent,
    Dhcp,
    Dns,
    Dtls,
    Ftp,
    Http,
    /// HTTP/2 by prior knowledge (RFC 9113, 3.4).
    Http2,
    Ike,
    Imap,
    Irc,
    Kerberos,
    Ldap,
    Mqtt,
    Mssql,
    MySql,
    Ntp,
    OpenVpn,
    Pop3,
    Postgres,
    Quic,
    Rdp,
    Redis,
    Sip,
    Smb,
    Smtp,
    Snmp,
    Socks,
    Ssdp,
    Ssh,
    /// STUN, TURN and with them WebRTC.
    Stun,
    Telnet,
    Tls,
    /// Remote framebuffer (RFC 6143).
    Vnc,
    WireGuard,
    X11,
    Xmpp,
}

/// What is known of a protocol: its name, and its ports over TCP and UDP.
struct Knowledge(&'static str, &'static [u16], &'static [u16]);

impl Protocol {
    /// Ports registered with IANA or in wide use. A protocol without ports in its row is at home everywhere.
    const fn knowledge(self) -> Knowledge {
        match self {
            Self::Unknown => Knowledge("unknown", &[], &[]),
            Self::Text => Knowledge("text", &[], &[]),
            Self::Binary => Knowledge("binary", &[], &[]),
            Self::Adb => Knowledge("adb", &[5037, 5555], &[]),
            Self::Amqp => Knowledge("amqp", &[5671, 5672], &[]),
            // Peers choose their ports.
            Self::BitTorrent => Knowledge("bittorrent", &[], &[]),
            Self::Dhcp => Knowledge("dhcp", &[], &[67, 68]),
            Self::Dns => Knowledge("dns", &[53], &[53, 137, 5353, 5355]),
            // WebRTC negotiates its ports, and DTLS runs on them.
            Self::Dtls => Knowledge("dtls", &[], &[]),
            Self::Ftp => Knowledge("ftp", &[21, 2121], &[]),
            Self::Http => Knowledge(
                "http",
                &[
                    80, 81, 591, 631, 2375, 3000, 3128, 5000, 5357, 5985, 8000, 8008, 8080, 8081, 8088, 8123, 8888,
                    9000, 9090, 9100, 9200,
                ],
                &[],
            ),
            Self::Http2 => Knowledge("http2", &[80, 8080, 50051], &[]),
            Self::Ike => Knowledge("ike", &[], &[500, 4500]),
            Self::Imap => Knowledge("imap", &[143], &[]),
            Self::Irc => {
                Knowledge("irc", &[194, 6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669, 7000], &[])
            }
            Self::Kerberos => Knowledge("kerberos", &[88, 464], &[88, 464]),
            Self::Ldap => Knowledge("ldap", &[389, 3268], &[389]),
            Self::Mqtt => Knowledge("mqtt", &[1883], &[]),
            Self::Mssql => Knowledge("mssql", &[1433, 1434], &[]),
            Self::MySql => Knowledge("mysql", &[3306, 33060], &[]),
            Self::Ntp => Knowledge("ntp", &[], &[123]),
            Self::OpenVpn => Knowledge("openvpn", &[443, 1194], &[443, 1194]),
            Self::Pop3 => Knowledge("pop3", &[110], &[]),
            Self::Postgres => Knowledge("postgres", &[5432, 6432], &[]),
            Self::Quic => Knowledge("quic", &[], &[80, 443, 784, 853, 8443]),
            Self::Rdp => Knowledge("rdp", &[3389], &[]),
            Self::Redis => Knowledge("redis", &[6379, 26379], &[]),
            Self::Sip => Knowledge("sip", &[5060], &[5060]),
            Self::Smb => Knowledge("smb", &[139, 445], &[]),
            Self::Smtp => Knowledge("smtp", &[25, 587, 2525], &[]),
            Self::Snmp => Knowledge("snmp", &[], &[161, 162]),
            Self::Socks => Knowledge("socks", &[1080, 9050, 9150], &[]),
            Self::Ssdp => Knowledge("ssdp", &[], &[1900]),
            Self::Ssh => Knowledge("ssh", &[22, 2222], &[]),
            // Calls choose their ports.
            Self::Stun => Knowledge("stun", &[], &[]),
            Self::Telnet => Knowledge("telnet", &[23, 2323], &[]),
            Self::Tls => Knowledge(
                "tls",
                &[
                    443, 465, 563, 587, 636, 853, 989, 990, 992, 993, 994, 995, 1443, 2376, 2484, 3269, 4433, 4443,
                    5061, 5223, 5228, 5349, 5671, 5986, 6443, 6514, 6697, 8443, 8883, 9443, 10250,
                ],
                &[],
            ),
            Self::Vnc => Knowledge("vnc", &[5800, 5900, 5901, 5902, 5903], &[]),
            Self::WireGuard => Knowledge("wireguard", &[], &[51820]),
            Self::X11 => Knowledge("x11", &[6000, 6001, 6002, 6003, 6010, 6011], &[]),
            Self::Xmpp => Knowledge("xmpp", &[5222, 5269], &[]),
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        self.knowledge().0
    }

    /// Returns the ports at which the protocol is expected over an IP protocol (6 or 17). None are listed for
    /// protocols that live on any port, or that the IP protocol does not carry.
    #[must_use]
    pub const fn default_ports(self, ip_protocol: u8) -> &'static [u16] {
        match ip_protocol {
            TCP => self.knowledge().1,
            UDP => self.knowledge().2,
            _ => &[],
        }
    }

    /// Returns whether the protocol is expected at a port, or has no ports that are its own.
    #[must_use]
    pub fn is_at_home(self, ip_protocol: u8, port: u16) -> bool {
        let Knowledge(_, tcp, udp) = self.knowledge();
        (tcp.is_empty() && udp.is_empty()) || self.default_ports(ip_protocol).contains(&port)
    }

    /// Returns whether the bytes said more than whether they are printable.
    #[must_use]
    pub const fn is_known(self) -> bool {
        !matches!(self, Self::Unknown | Self::Text | Self::Binary)
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_at_home_at_its_ports_and_nowhere_else() {
        assert!(Protocol::Ssh.is_at_home(TCP, 22));
        assert!(!Protocol::Ssh.is_at_home(TCP, 443));
        assert!(!Protocol::Ntp.is_at_home(TCP, 123), "NTP runs over UDP only");
    }

    #[test]
    fn what_lives_on_any_port_is_at_home_everywhere() {
        assert!(Protocol::BitTorrent.is_at_home(TCP, 4_711));
        assert!(Protocol::Text.is_at_home(TCP, 4_711));
    }
}
