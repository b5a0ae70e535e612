//! Protocols that greet in words.

use super::Speaker;
use crate::opening::Protocol;

/// Bytes of a greeting that are looked at.
const LOOKED_AT: usize = 512;

pub(super) fn of(bytes: &[u8], speaker: Speaker) -> Option<Protocol> {
    let bytes = &bytes[..bytes.len().min(LOOKED_AT)];
    either(bytes).or_else(|| match speaker {
        Speaker::Originator => originator(bytes),
        Speaker::Responder => responder(bytes),
    })
}

/// What both sides say alike.
fn either(bytes: &[u8]) -> Option<Protocol> {
    if bytes.starts_with(b"SSH-2.0-") || bytes.starts_with(b"SSH-1.") {
        return Some(Protocol::Ssh);
    }
    if is_rfb(bytes) {
        return Some(Protocol::Vnc);
    }
    if is_xmpp(bytes) {
        return Some(Protocol::Xmpp);
    }
    super::datagram::sip(bytes)
}

fn originator(bytes: &[u8]) -> Option<Protocol> {
    if bytes.starts_with(b"PRI * HTTP/2.0\r\n") {
        return Some(Protocol::Http2);
    }
    let line = first_line(bytes)?;
    let has = |word: &[u8]| starts_with_word(line, word);
    if is_resp_array(bytes) {
        return Some(Protocol::Redis);
    }
    if has(b"EHLO") || has(b"HELO") || has(b"LHLO") {
        return Some(Protocol::Smtp);
    }
    if is_irc_client(bytes, line) {
        return Some(Protocol::Irc);
    }
    if matches!(line, b"AUTH TLS" | b"AUTH SSL" | b"FEAT") || has(b"OPTS UTF8") {
        return Some(Protocol::Ftp);
    }
    if is_imap_command(line) {
        return Some(Protocol::Imap);
    }
    matches!(line, b"CAPA").then_some(Protocol::Pop3)
}

fn responder(bytes: &[u8]) -> Option<Protocol> {
    if bytes.starts_with(b"HTTP/1.") {
        return Some(Protocol::Http);
    }
    let line = first_line(bytes)?;
    if line.starts_with(b"220") && matches!(line.get(3), Some(b' ' | b'-')) {
        let is_mail = [&b"SMTP"[..], b"Postfix", b"Exim", b"sendmail"].iter().any(|word| contains(line, word));
        let is_files = [&b"FTP"[..], b"FileZilla"].iter().any(|word| contains(line, word));
        return match (is_mail, is_files) {
            (true, false) => Some(Protocol::Smtp),
            (false, true) => Some(Protocol::Ftp),
            (true, true) | (false, false) => None,
        };
    }
    if line == b"+OK" || line.starts_with(b"+OK ") {
        return Some(Protocol::Pop3);
    }
    if line.starts_with(b"* OK") || line.starts_with(b"* PREAUTH") {
        return Some(Protocol::Imap);
    }
    is_irc_server(line).then_some(Protocol::Irc)
}

/// Returns the first line without its end; none where no line ends.
fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    line.iter().all(|byte| matches!(byte, b' '..=0xff | b'\t')).then_some(line)
}

fn starts_with_word(line: &[u8], word: &[u8]) -> bool {
    line.len() > word.len() && line[..word.len()].eq_ignore_ascii_case(word) && line[word.len()] == b' '
}

fn contains(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// "RFB 003.008\n" (RFC 6143, 7.1.1).
fn is_rfb(bytes: &[u8]) -> bool {
    matches!(bytes, [b'R', b'F', b'B', b' ', a, b, c, b'.', d, e, f, b'\n', ..]
        if [a, b, c, d, e, f].iter().all(|digit| digit.is_ascii_digit()))
}

fn is_xmpp(bytes: &[u8]) -> bool {
    let is_xml = bytes.starts_with(b"<?xml ") || bytes.starts_with(b"<stream:stream");
    is_xml && contains(bytes, b"<stream:stream") && contains(bytes, b"http://etherx.jabber.org/streams")
}

/// An array of bulk strings, as Redis clients send commands.
fn is_resp_array(bytes: &[u8]) -> bool {
    let number = |bytes: &[u8]| {
        let end = bytes.iter().take(6).position(|byte| *byte == b'\r')?;
        let digits = &bytes[..end];
        (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && bytes[end..].starts_with(b"\r\n"))
            .then_some(end)
    };
    let Some(rest) = bytes.strip_prefix(b"*") else { return false };
    let Some(end) = number(rest) else { return false };
    let Some(rest) = rest[end..].strip_prefix(b"\r\n$") else { return false };
    number(rest).is_some()
}

/// NICK, USER with its four parameters (RFC 2812, 3.1.3), CAP LS, or PASS before one of them.
fn is_irc_client(bytes: &[u8], line: &[u8]) -> bool {
    let is_user = starts_with_word(line, b"USER") && line.split(|byte| *byte == b' ').count() >= 5;
    let is_pass = starts_with_word(line, b"PASS") && (contains(bytes, b"\nNICK ") || contains(bytes, b"\nCAP LS"));
    starts_with_word(line, b"NICK") || line.starts_with(b"CAP LS") || is_user || is_pass
}

/// ":server NOTICE ..." or ":server 001 nick ..." (RFC 2812, 2.3).
fn is_irc_server(line: &[u8]) -> bool {
    if line.starts_with(b"NOTICE AUTH ") {
        return true;
    }
    let Some(rest) = line.strip_prefix(b":") else { return false };
    let mut words = rest.split(|byte| *byte == b' ');
    let (Some(server), Some(command)) = (words.next(), words.next()) else { return false };
    let is_command = matches!(command, b"NOTICE" | b"CAP" | b"001" | b"020" | b"433");
    !server.is_empty() && is_command && words.next().is_some()
}

/// A tag, then a command that an IMAP client may send before logging in (RFC 9051, 6.1, 6.2).
fn is_imap_command(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(tag), Some(command)) = (words.next(), words.next()) else { return false };
    let is_tag = !tag.is_empty() && tag.len() <= 8 && tag.iter().all(u8::is_ascii_alphanumeric);
    let has_more = words.next().is_some();
    let is_bare = matches!(command, b"CAPABILITY" | b"STARTTLS");
    let is_login = matches!(command, b"LOGIN" | b"AUTHENTICATE" | b"ID") && has_more;
    is_tag && tag.iter().any(u8::is_ascii_digit) && ((is_bare && !has_more) || is_login)
}
