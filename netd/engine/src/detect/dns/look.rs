//! What a label looks like: a word, or data in some encoding.

/// Shortest label whose looks mean anything.
const SHORTEST: usize = 8;
/// Mean ln p of neighbours below which letters are no words: words have -2.4, letters by chance -5.0.
const NO_WORD: f64 = -3.9;
/// Changes between letters and digits from which a label is data.
const MANY_CHANGES: usize = 4;
/// ln p of a letter beside a digit, and of a digit beside another: rare in names, common in data.
const MIXED: f64 = -5.0;
const DIGITS: f64 = -3.0;

/// What encoding a label may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Too short to tell, or made of words.
    Plain,
    /// Bytes that no host name has: base 64 and base 128 of tunnels.
    Binary,
    Hex,
    /// Letters and digits without words: base 32, base 36.
    Encoded,
}

pub(super) fn look(label: &[u8]) -> Look {
    if label.iter().any(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))) {
        return Look::Binary;
    }
    if label.len() < SHORTEST {
        return Look::Plain;
    }
    let digits = label.iter().filter(|byte| byte.is_ascii_digit()).count();
    if label.iter().all(u8::is_ascii_hexdigit) && digits > 0 {
        return Look::Hex;
    }
    // A mark between them separates what belongs to neither: `ec2-52-1`.
    let is_change =
        |two: &&[u8]| two.iter().all(u8::is_ascii_alphanumeric) && two[0].is_ascii_digit() != two[1].is_ascii_digit();
    let changes = label.windows(2).filter(is_change).count();
    // An internationalized name (RFC 5890) is a word in another script.
    let is_word = label.starts_with(b"xn--") || ln_p(label).is_none_or(|mean| mean > NO_WORD);
    if is_word && changes < MANY_CHANGES { Look::Plain } else { Look::Encoded }
}

/// Returns the mean ln p of a label's neighbouring letters in English words.
pub(super) fn ln_p(label: &[u8]) -> Option<f64> {
    let neighbours = label.windows(2).filter_map(|two| {
        let (a, b) = (two[0], two[1]);
        match (a.is_ascii_lowercase(), b.is_ascii_lowercase()) {
            (true, true) => {
                let row = BIGRAMS.get(usize::from(a - b'a'))?;
                row.get(usize::from(b - b'a')).map(|coded| -f64::from(coded - b'!') / 10.0)
            }
            (true, false) if b.is_ascii_digit() => Some(MIXED),
            (false, true) if a.is_ascii_digit() => Some(MIXED),
            (false, false) if a.is_ascii_digit() && b.is_ascii_digit() => Some(DIGITS),
            _ => None,
        }
    });
    let (count, sum) = neighbours.fold((0_u32, 0.0), |(count, sum), ln_p| (count + 1, sum + ln_p));
    (count > 0).then(|| sum / f64::from(count))
}

/// -10 ln p(second letter | first), a row for each first letter, as the character of that number after `!`. Counted in
/// the 73,419 different lower-cased words of letters in SCOWL's American list (Kevin Atkinson, as Debian's `wamerican`
/// 2020.12.07 has it), half a count added to each.
const BIGRAMS: [&[u8; 26]; 26] = [
    b"fA=AVODUCeL7A4dCd6<3HJNYIT",
    b"4A[Y4doa7Wr3Z]6fz9BS9bdzM~",
    b"4pJl7vs5;~:@mm2q_=L;?v~~Ml",
    b";SWD-XHU0WlBQR;Zp?<Z@TQ~Kg",
    b"?QB5ELMXOd]>E7RI[11@VLPJQ_",
    b"8`dj69hc2rn7gd6j~:IA8~l~G~",
    b"7]rb1`?;7oi;PB<`u7>U=z[~Jh",
    b"2Ta]/Yj_3lfLMP3aqCGA?wS~Dq",
    b"@K;D;IEjekX>C.<I^E9<YEm\\vE",
    b"/ppp2epp:peppp0`p``p/eeppp",
    b"<N^X,T^I0cS>QBDS~K6UI~O~C~",
    b"5VTI1TWb2wR7RY9TwaAGASdo8r",
    b"1>Vh1Yue3~xW@Q78p_Ag@jg~P}",
    b"<X=;7L0V;]JU[GAZ]Y86LQ]jU`",
    b"HHCEONDYIfM<>1@Bd5?@:ECTR[",
    b"6]ab2bg=8se:]`7=~5AB@~a~P~",
    b"VcnnnnnnSnnXnncnnncc!ncnnn",
    b"4LHD1TJW4fMLFG8NhE9@CQYuGn",
    b"?X>^6Y_:9mKDEK@?S_80@eM~Mw",
    b"9ZLg0Yd=0tpHWY;_~:;ABnS~EZ",
    b"ACACALEeAfX8<4QBq65:k[n[cW",
    b"4toe(tol0t~_~o;l~_ZgL\\~~V~",
    b"0M]K2W^<3~REW>7V~A?UZs_~Td",
    b"<a9q3aaC2qqX^aB3aa^4CNXHGf",
    b":E?E8PIO8`W><>@;o@4DKbHVfS",
    b"6\\fc)vkQ1v`CY[>\\kc`\\N\\\\vJ;",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_brands_and_hosts_look_plain() {
        for label in [
            "www",
            "facebook",
            "stackoverflow",
            "googlesyndication",
            "connectivitycheck",
            "autodiscover",
            "cdn-images-1",
            "ec2-52-1-2-3",
            "clients4",
            "xn--mnchen-3ya",
            "_domainkey",
            "deutschebahn",
        ] {
            assert_eq!(look(label.as_bytes()), Look::Plain, "{label}");
        }
    }

    #[test]
    fn data_looks_encoded() {
        assert_eq!(look(b"d41d8cd98f00b204"), Look::Hex);
        assert_eq!(look(b"mfzwizltoq3wk4tjmvzxg2lo"), Look::Encoded);
        assert_eq!(look(b"zi05aAbB\xbc\xbd"), Look::Binary);
        assert_eq!(look(b"xkqzjvwpqhtg"), Look::Encoded);
    }
}
