//! What a terminal would show, without colours and cursor movements (ECMA-48).

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';

/// Returns printable text without its control sequences, or `None` for what is no text.
pub(super) fn plain(bytes: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // A character cut at the end of the record.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            ESCAPE => skip_sequence(&mut chars),
            '\n' | '\t' => plain.push(char),
            '\r' | BELL | '\u{8}' => {}
            // Input and output of a raw terminal: end of text, shift in and out.
            '\u{3}' | '\u{e}' | '\u{f}' => {}
            _ if char.is_control() => return None,
            _ => plain.push(char),
        }
    }
    Some(plain)
}

fn skip_sequence(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        // Control sequence: up to a final byte.
        Some('[') => {
            chars.find(|char| matches!(char, '@'..='~'));
        }
        // Operating system command, as it sets the window's title: up to BEL or ST.
        Some(']') => {
            while let Some(char) = chars.next() {
                if char == BELL {
                    return;
                }
                if char == ESCAPE {
                    chars.next();
                    return;
                }
            }
        }
        Some('(' | ')') => {
            chars.next();
        }
        Some(_) | None => {}
    }
}
