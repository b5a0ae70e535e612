//! A name as it stands in a message: labels of any bytes, in lower case.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use hickory_proto::rr::Name;
use psl::Psl;

/// Labels from the left, without the root. Lower case, because resolvers may change it at will (`0x20` encoding).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    bytes: Vec<u8>,
    /// Where each label ends in `bytes`; a name has at most 255 bytes.
    ends: Vec<u8>,
}

/// Whom the names below a point belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The labels from this one on were registered below a public suffix.
    Registered(usize),
    /// The last label is no public suffix: a private network's name, or none at all. From this label on, two are left.
    Private(usize),
}

impl Labels {
    pub(crate) fn of(name: &Name) -> Self {
        let mut labels = Self { bytes: Vec::with_capacity(64), ends: Vec::with_capacity(8) };
        for label in name.iter() {
            labels.bytes.extend(label.iter().map(u8::to_ascii_lowercase));
            labels.ends.push(labels.bytes.len().min(usize::from(u8::MAX)) as u8);
        }
        labels
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns a label by its place from the left.
    pub(crate) fn label(&self, at: usize) -> &[u8] {
        let from = if at == 0 { 0 } else { self.ends.get(at - 1).map_or(self.bytes.len(), |end| usize::from(*end)) };
        let until = self.ends.get(at).map_or(self.bytes.len(), |end| usize::from(*end));
        self.bytes.get(from..until).unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        (0..self.len()).map(|at| self.label(at))
    }

    /// Returns the bytes of the first `count` labels, one after the other.
    pub(crate) fn first(&self, count: usize) -> &[u8] {
        let until = count.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |end| usize::from(*end));
        self.bytes.get(..until).unwrap_or_default()
    }

    /// Returns to whom the name belongs, by the Public Suffix List.
    pub(crate) fn owner(&self) -> Owner {
        let info = psl::List.find(self.iter().rev());
        if info.typ.is_none() {
            return Owner::Private(self.len().saturating_sub(2));
        }
        // The suffix's length counts the dots between its labels.
        let (mut rest, mut at) = (info.len + 1, self.len());
        while rest > 0 && at > 0 {
            at -= 1;
            rest = rest.saturating_sub(self.label(at).len() + 1);
        }
        Owner::Registered(at.saturating_sub(1))
    }

    /// Returns a number for the labels from `at` on: equal names have equal numbers.
    pub(crate) fn hash_from(&self, at: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        for label in (at..self.len()).map(|at| self.label(at)) {
            hasher.write_u8(label.len() as u8);
            hasher.write(label);
        }
        hasher.finish()
    }

    /// Returns the labels from `at` on as text; bytes that no host name has are written `\DDD` (RFC 1035, 5.1).
    pub(crate) fn text_from(&self, at: usize) -> String {
        let mut text = String::new();
        for (n, label) in (at..self.len()).map(|at| self.label(at)).enumerate() {
            if n > 0 {
                text.push('.');
            }
            for byte in label {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                    text.push(char::from(*byte));
                } else {
                    text.push_str(&format!("\\{byte:03}"));
                }
            }
        }
        text
    }

    /// Returns the whole name, if a flow can have it.
    pub(crate) fn host_name(&self) -> Option<Arc<str>> {
        let is_host = |label: &[u8]| label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (self.len() > 0 && self.iter().all(is_host)).then(|| self.text_from(0).into())
    }

    /// Returns how many of the first labels are the reversed digits of an address, 0 if they are none: four numbers, or
    /// 32 hexadecimal digits, as reverse look-ups and block lists ask (RFC 5782).
    pub(crate) fn reversed_address(&self) -> usize {
        let is_octet = |label: &[u8]| {
            label.len() <= 3 && std::str::from_utf8(label).is_ok_and(|digits| digits.parse::<u8>().is_ok())
        };
        let is_nibble = |label: &[u8]| matches!(label, [digit] if digit.is_ascii_hexdigit());
        if self.len() > 32 && self.iter().take(32).all(is_nibble) {
            32
        } else if self.len() > 4 && self.iter().take(4).all(is_octet) {
            4
        } else {
            0
        }
    }

    /// Returns whether the name is that of an address or a network of the reverse tree.
    pub(crate) fn is_reverse(&self) -> bool {
        let tree: Cow<'_, [&[u8]]> = self.iter().rev().take(2).collect::<Vec<_>>().into();
        let is_short = |label: &[u8]| label.len() <= 3 && label.iter().all(u8::is_ascii_hexdigit);
        let host = self.len().saturating_sub(2);
        matches!(*tree, [b"arpa", b"in-addr" | b"ip6"]) && host <= 32 && self.iter().take(host).all(is_short)
    }
}

impl From<&str> for Labels {
    /// Takes over a name with dots between its labels.
    fn from(text: &str) -> Self {
        let mut labels = Self::default();
        for label in text.split('.').filter(|label| !label.is_empty()) {
            labels.bytes.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
            labels.bytes.truncate(usize::from(u8::MAX));
            labels.ends.push(labels.bytes.len() as u8);
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registered(text: &str) -> Option<String> {
        let labels = Labels::from(text);
        match labels.owner() {
            Owner::Registered(at) => Some(labels.text_from(at)),
            Owner::Private(_) => None,
        }
    }

    #[test]
    fn what_was_registered_stands_below_a_public_suffix() {
        assert_eq!(registered("a.b.Example.com").as_deref(), Some("example.com"));
        assert_eq!(registered("a.b.example.co.uk").as_deref(), Some("example.co.uk"));
        assert_eq!(registered("x.d111.cloudfront.net").as_deref(), Some("d111.cloudfront.net"));
        assert_eq!(registered("com").as_deref(), Some("com"));
        assert_eq!(registered("dc1.corp.lan"), None);
        assert_eq!(registered(""), None);
    }

    #[test]
    fn an_address_is_known_by_its_digits() {
        assert_eq!(Labels::from("4.3.2.1.zen.example.org").reversed_address(), 4);
        assert_eq!(Labels::from("4.3.2.x1.zen.example.org").reversed_address(), 0);
        assert_eq!(Labels::from("4.3.2.1").reversed_address(), 0);
        let nibbles = "1.".repeat(32);
        assert_eq!(Labels::from(format!("{nibbles}dnsbl.example.org").as_str()).reversed_address(), 32);
        assert!(Labels::from(format!("{nibbles}ip6.arpa").as_str()).is_reverse());
        assert!(Labels::from("7.0.0.10.in-addr.arpa").is_reverse());
        assert!(!Labels::from("deadbeef.0.0.10.in-addr.arpa").is_reverse());
    }

    #[test]
    fn bytes_of_no_host_name_are_kept_and_shown_escaped() {
        let name = Name::from_labels([&b"\xffA.b"[..], b"example", b"org"]).unwrap();
        let labels = Labels::of(&name);

        assert_eq!(labels.label(0), b"\xffa.b");
        assert_eq!(labels.text_from(0), "\\255a\\046b.example.org");
        assert_eq!(labels.host_name(), None);
        assert_eq!(labels.owner(), Owner::Registered(1));
    }

    proptest! {
        #[test]
        fn every_name_has_an_owner_within_it(parts in prop::collection::vec("[a-z0-9-]{1,9}", 0..20)) {
            let labels = Labels::from(parts.join(".").as_str());
            let (Owner::Registered(at) | Owner::Private(at)) = labels.owner();

            prop_assert!(at <= labels.len());
            prop_assert_eq!(labels.first(labels.len()).len(), labels.iter().map(<[u8]>::len).sum::<usize>());
        }
    }
}
