//! Names that nobody owns, made of syllables.

use crate::traffic::dice::Dice;

const SYLLABLES: [&str; 40] = [
    "ba", "be", "bra", "ca", "co", "cru", "da", "del", "dri", "el", "fa", "fin", "flo", "ga", "gre", "ha", "hum", "in",
    "ja", "ka", "kel", "lo", "lum", "ma", "mer", "ni", "no", "or", "pa", "pri", "qua", "ra", "ro", "sa", "sol", "ta",
    "ter", "u", "vi", "zen",
];
const ENDINGS: [&str; 10] = ["com", "com", "com", "net", "org", "io", "de", "fr", "co.uk", "app"];

/// Returns a registered domain.
pub(crate) fn domain(dice: &mut Dice) -> String {
    format!("{}.{}", word(dice), ENDINGS[dice.whole(0, ENDINGS.len() - 1)])
}

pub(crate) fn word(dice: &mut Dice) -> String {
    (0..dice.whole(3, 4)).map(|_| SYLLABLES[dice.whole(0, SYLLABLES.len() - 1)]).collect()
}

/// Returns lower-case hexadecimal digits.
pub(crate) fn hex(dice: &mut Dice, digits: usize) -> String {
    (0..digits).map(|_| char::from(b"0123456789abcdef"[dice.whole(0, 15)])).collect()
}

/// Returns digits of base 32, as tunnels write their payload.
pub(crate) fn base32(dice: &mut Dice, digits: usize) -> String {
    (0..digits).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz012345"[dice.whole(0, 31)])).collect()
}
