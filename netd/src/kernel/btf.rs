//! The running kernel's types (BTF), as far as this room asks: where a member of a structure lies.
//!
//! aya relocates by BTF what a compiler marked, and Rust's does not; its reader keeps members to itself.

use std::collections::HashMap;

/// Why a member's place is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the description of the kernel's types is malformed")]
    Malformed,
    #[error("this kernel has no structure {0}")]
    NoStructure(&'static str),
    #[error("this kernel's {structure} has no member {member}")]
    NoMember { structure: &'static str, member: &'static str },
    #[error("{structure}.{member} is a bit-field")]
    BitField { structure: &'static str, member: &'static str },
    #[error("{structure}.{member} has {found} bytes, not {expected}")]
    Size { structure: &'static str, member: &'static str, found: u32, expected: u32 },
}

/// What follows a type's three words, by kind (`Documentation/bpf/btf.rst`).
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

const MAGIC: u16 = 0xeb9f;
/// Anonymous structures within one another, and modifiers of a type: real ones have fewer, a cycle has more.
const DEPTH: u32 = 16;

/// A blob of BTF, indexed.
pub(super) struct Types<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins; the first, `void`, has no place.
    starts: Vec<usize>,
    structures: HashMap<&'a [u8], u32>,
}

#[derive(Clone, Copy)]
struct Type {
    kind: u32,
    count: u32,
    /// Whether members' offsets hold the width of bit-fields.
    has_widths: bool,
    /// Or the number of another type.
    size: u32,
    /// Where what follows the three words begins.
    body: usize,
}

struct Member {
    name: u32,
    of: u32,
    bits: u32,
    width: u32,
}

impl<'a> Types<'a> {
    /// Of a member whose size says nothing.
    pub(super) const ANY_SIZE: u32 = u32::MAX;

    pub(super) fn parse(blob: &'a [u8]) -> Result<Self, Error> {
        Self::read(blob).ok_or(Error::Malformed)
    }

    fn read(blob: &'a [u8]) -> Option<Self> {
        if blob.get(..2)? != MAGIC.to_ne_bytes() {
            return None;
        }
        let header = word(blob, 4)? as usize;
        let section = |at: usize| -> Option<&'a [u8]> {
            let start = header.checked_add(word(blob, at)? as usize)?;
            blob.get(start..start.checked_add(word(blob, at + 4)? as usize)?)
        };
        let (types, strings) = (section(8)?, section(16)?);
        let mut read = Self { types, strings, starts: vec![usize::MAX], structures: HashMap::new() };
        let mut at = 0;
        while at < types.len() {
            let id = read.starts.len() as u32;
            read.starts.push(at);
            let this = read.at(at)?;
            if matches!(this.kind, kind::STRUCT | kind::UNION) {
                let name = read.name(word(types, at)?)?;
                if !name.is_empty() {
                    read.structures.entry(name).or_insert(id);
                }
            }
            at = this.body.checked_add(this.tail()?)?;
        }
        Some(read)
    }

    /// Returns the offset in bytes of a member of `structure`, which must have `size` bytes. `member` goes through
    /// embedded structures (`f_path.dentry`); anonymous ones are passed through.
    pub(super) fn offset(&self, structure: &'static str, member: &'static str, size: u32) -> Result<u32, Error> {
        let mut of = *self.structures.get(structure.as_bytes()).ok_or(Error::NoStructure(structure))?;
        let mut bits = 0_u32;
        for part in member.split('.') {
            let found = self.member(of, part, 0)?.ok_or(Error::NoMember { structure, member })?;
            if found.width != 0 || found.bits % 8 != 0 {
                return Err(Error::BitField { structure, member });
            }
            bits = bits.checked_add(found.bits).ok_or(Error::Malformed)?;
            of = found.of;
        }
        match self.size(of)? {
            found if found == size || size == Self::ANY_SIZE => Ok(bits / 8),
            found => Err(Error::Size { structure, member, found, expected: size }),
        }
    }

    /// Finds a member by name, in what `of` embeds without a name as well.
    fn member(&self, of: u32, name: &str, depth: u32) -> Result<Option<Member>, Error> {
        let this = self.resolve(of)?;
        if !matches!(this.kind, kind::STRUCT | kind::UNION) || depth > DEPTH {
            return Ok(None);
        }
        for index in 0..this.count as usize {
            let found = self.member_at(&this, index).ok_or(Error::Malformed)?;
            if self.name(found.name).ok_or(Error::Malformed)? == name.as_bytes() {
                return Ok(Some(found));
            }
            if found.name == 0
                && let Some(inner) = self.member(found.of, name, depth + 1)?
            {
                let bits = inner.bits.checked_add(found.bits).ok_or(Error::Malformed)?;
                return Ok(Some(Member { bits, ..inner }));
            }
        }
        Ok(None)
    }

    fn member_at(&self, this: &Type, index: usize) -> Option<Member> {
        let at = this.body + index * 12;
        let offset = word(self.types, at + 8)?;
        let (bits, width) = if this.has_widths { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
        Some(Member { name: word(self.types, at)?, of: word(self.types, at + 4)?, bits, width })
    }

    fn size(&self, id: u32) -> Result<u32, Error> {
        let this = self.resolve(id)?;
        match this.kind {
            kind::PTR => Ok(size_of::<u64>() as u32),
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => Ok(this.size),
            kind::ARRAY => {
                let element = word(self.types, this.body).ok_or(Error::Malformed)?;
                let count = word(self.types, this.body + 8).ok_or(Error::Malformed)?;
                // An array of arrays is not followed: nobody asks for one.
                let element = self.resolve(element)?;
                let size = if element.kind == kind::PTR { 8 } else { element.size };
                size.checked_mul(count).ok_or(Error::Malformed)
            }
            _ => Err(Error::Malformed),
        }
    }

    /// Returns a type behind its names and qualifiers.
    fn resolve(&self, mut id: u32) -> Result<Type, Error> {
        for _ in 0..DEPTH {
            let start = self.starts.get(id as usize).ok_or(Error::Malformed)?;
            let this = self.at(*start).ok_or(Error::Malformed)?;
            match this.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => id = this.size,
                _ => return Ok(this),
            }
        }
        Err(Error::Malformed)
    }

    fn at(&self, start: usize) -> Option<Type> {
        let info = word(self.types, start.checked_add(4)?)?;
        Some(Type {
            kind: info >> 24 & 0x1f,
            count: info & 0xffff,
            has_widths: info >> 31 == 1,
            size: word(self.types, start + 8)?,
            body: start + 12,
        })
    }

    fn name(&self, at: u32) -> Option<&'a [u8]> {
        let rest = self.strings.get(at as usize..)?;
        Some(&rest[..rest.iter().position(|byte| *byte == 0)?])
    }
}

impl Type {
    /// Returns the length of what follows the three words; `None` for a kind that has none known.
    fn tail(&self) -> Option<usize> {
        let count = self.count as usize;
        Some(match self.kind {
            kind::PTR
            | kind::FWD
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => 0,
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
            kind::ENUM | kind::FUNC_PROTO => count * 8,
            _ => return None,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `struct outer { u32 first; struct { u64 within; u32 narrow:3; }; }`, and a cycle of two typedefs.
    fn blob() -> Vec<u8> {
        let strings = b"\0u32\0u64\0outer\0first\0within\0narrow\0loop\0";
        let types: [u32; 35] = [
            1,
            kind::INT << 24,
            4,
            32, // 1: u32
            5,
            kind::INT << 24,
            8,
            64, // 2: u64
            0,
            kind::STRUCT << 24 | 1 << 31 | 2,
            16,
            21,
            2,
            0,
            28,
            1,
            3 << 24 | 64, // 3
            9,
            kind::STRUCT << 24 | 3,
            24,
            15,
            1,
            0,
            0,
            3,
            64,
            35,
            5,
            0, // 4: outer
            35,
            kind::TYPEDEF << 24,
            6, // 5
            35,
            kind::TYPEDEF << 24,
            5, // 6
        ];
        let mut blob = Vec::new();
        blob.extend_from_slice(&MAGIC.to_ne_bytes());
        blob.extend_from_slice(&[1, 0]);
        for word in [24, 0, types.len() as u32 * 4, types.len() as u32 * 4, strings.len() as u32] {
            blob.extend_from_slice(&word.to_ne_bytes());
        }
        types.iter().for_each(|word| blob.extend_from_slice(&word.to_ne_bytes()));
        blob.extend_from_slice(strings);
        blob
    }

    #[test]
    fn a_member_of_an_anonymous_structure_lies_behind_what_comes_before_it() {
        let blob = blob();
        let types = Types::parse(&blob).unwrap();

        assert_eq!(types.offset("outer", "first", 4), Ok(0));
        assert_eq!(types.offset("outer", "within", 8), Ok(8));
    }

    #[test]
    fn a_bit_field_has_no_offset_in_bytes() {
        let blob = blob();
        let types = Types::parse(&blob).unwrap();

        let refused = types.offset("outer", "narrow", 4);

        assert_eq!(refused, Err(Error::BitField { structure: "outer", member: "narrow" }));
    }

    #[test]
    fn a_member_of_another_size_is_another_member() {
        let blob = blob();
        let types = Types::parse(&blob).unwrap();

        let refused = types.offset("outer", "first", 8);

        assert_eq!(refused, Err(Error::Size { structure: "outer", member: "first", found: 4, expected: 8 }));
        assert_eq!(types.offset("inner", "first", 4), Err(Error::NoStructure("inner")));
        assert!(matches!(types.offset("outer", "last", 4), Err(Error::NoMember { .. })));
    }

    #[test]
    fn types_that_name_each_other_end() {
        let blob = blob();
        let types = Types::parse(&blob).unwrap();

        assert_eq!(types.offset("outer", "loop", 4), Err(Error::Malformed));
    }

    proptest! {
        #[test]
        fn no_blob_makes_the_reader_panic(at in 0_usize..230, byte in any::<u8>(), len in 0_usize..240) {
            let mut blob = blob();
            if let Some(changed) = blob.get_mut(at) {
                *changed = byte;
            }
            blob.truncate(len);

            if let Ok(types) = Types::parse(&blob) {
                let _ = types.offset("outer", "within.first", 8);
                let _ = types.offset("outer", "narrow", 8);
            }
        }
    }
}
