//! One record of a database, in any of the layouts met in the field.
//!
//! Nested (GeoIP2, DB-IP): `country.iso_code`, else `registered_country.iso_code`. Flat (IPtoASN, ip-location-db,
//! IPinfo, IPLocate): `country_code`, or `country` with two letters. AS numbers are flat everywhere: a number or `AS64500`.

use std::fmt;

use netd_engine::region::{Country, Region};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Longest AS name kept, characters.
const NAME: usize = 128;

/// The fields that can be read; all others are skipped.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Record<'a> {
    #[serde(borrow)]
    country: Field<'a>,
    #[serde(borrow)]
    registered_country: Field<'a>,
    #[serde(borrow)]
    country_code: Field<'a>,
    #[serde(borrow)]
    autonomous_system_number: Field<'a>,
    #[serde(borrow)]
    autonomous_system_organization: Field<'a>,
    #[serde(borrow)]
    asn: Field<'a>,
    #[serde(borrow)]
    as_number: Field<'a>,
    #[serde(borrow)]
    as_name: Field<'a>,
    #[serde(borrow)]
    as_organization: Field<'a>,
    #[serde(borrow)]
    organization: Field<'a>,
    #[serde(borrow)]
    org: Field<'a>,
    #[serde(borrow)]
    name: Field<'a>,
}

impl Record<'_> {
    /// Returns what the record says, with control characters and overlong names taken out.
    pub(crate) fn region(&self) -> Region {
        let country = self.countries().into_iter().find_map(|(_, field)| field.country());
        let asn = self.numbers().into_iter().find_map(|(_, field)| field.asn());
        let named = || self.names().into_iter().find_map(|(_, field)| field.text()).map(cleaned);
        Region { country, asn, as_name: asn.and_then(|_| named()).filter(|name| !name.is_empty()).map(Into::into) }
    }

    /// Returns the names of the fields that say something, and whether the country is nested.
    pub(crate) fn fields(&self) -> (Vec<&'static str>, bool) {
        let country = self.countries().into_iter().find(|(_, field)| field.country().is_some());
        let number = self.numbers().into_iter().find(|(_, field)| field.asn().is_some());
        let name = self.names().into_iter().find(|(_, field)| field.text().is_some()).filter(|_| number.is_some());
        let nested = country.is_some_and(|(_, field)| matches!(field, Field::Nested(_)));
        ([country, number, name].into_iter().flatten().map(|(name, _)| name).collect(), nested)
    }

    /// In the order in which they are believed. `registered_country` is where the network is registered, which is
    /// known where its place is not.
    fn countries(&self) -> [(&'static str, &Field<'_>); 3] {
        [
            ("country_code", &self.country_code),
            ("country", &self.country),
            ("registered_country", &self.registered_country),
        ]
    }

    fn numbers(&self) -> [(&'static str, &Field<'_>); 3] {
        [
            ("autonomous_system_number", &self.autonomous_system_number),
            ("asn", &self.asn),
            ("as_number", &self.as_number),
        ]
    }

    fn names(&self) -> [(&'static str, &Field<'_>); 6] {
        [
            ("autonomous_system_organization", &self.autonomous_system_organization),
            ("as_name", &self.as_name),
            ("as_organization", &self.as_organization),
            ("organization", &self.organization),
            ("org", &self.org),
            ("name", &self.name),
        ]
    }
}

pub(crate) fn cleaned(name: &str) -> String {
    name.trim().chars().filter(|c| !c.is_control()).take(NAME).collect()
}

/// Reads an AS number: `64500` or `AS64500`. AS 0 stands for "not routed".
pub(crate) fn asn(text: &str) -> Option<u32> {
    let digits = match text.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("AS") => &text[2..],
        Some(_) | None => text,
    };
    digits.parse().ok().filter(|asn| *asn != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A value of whatever type the file's author chose: a type that is not expected says nothing, and is no error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Field<'a> {
    #[default]
    Absent,
    Text(&'a str),
    Number(u64),
    /// A map, with the text of its `iso_code`.
    Nested(&'a str),
}

impl<'a> Field<'a> {
    fn country(&self) -> Option<Country> {
        match self {
            Self::Text(code) | Self::Nested(code) => Country::new(code),
            Self::Absent | Self::Number(_) => None,
        }
    }

    fn asn(&self) -> Option<u32> {
        match self {
            Self::Text(text) => asn(text),
            Self::Number(number) => u32::try_from(*number).ok().filter(|asn| *asn != 0),
            Self::Absent | Self::Nested(_) => None,
        }
    }

    const fn text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            Self::Text(_) | Self::Absent | Self::Number(_) | Self::Nested(_) => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(text))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_borrowed_bytes<E>(self, _: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Field::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(Field::Absent, Field::Number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(Field::Absent, Field::Number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut nested = Field::Absent;
        while let Some(key) = map.next_key::<&str>()? {
            match key {
                // A map inside the map would be a value too: only a text counts.
                "iso_code" => match map.next_value()? {
                    Field::Text(code) => nested = Field::Nested(code),
                    Field::Absent | Field::Number(_) | Field::Nested(_) => {}
                },
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(nested)
    }
}
