//! Rows of the CSV files of this field.
//!
//! | form | columns |
//! |---|---|
//! | ranges | start, end, then one of: country; asn, name; asn, country, name (IPtoASN "combined") |
//! | networks | prefix, then the same |
//!
//! A first line of names is optional and then decides, in any order: `start_ip`, `end_ip`, `network`, `country_code`,
//! `asn`, `name` and the other spellings of [`Column::named`]; columns with other names are skipped.

use std::collections::HashMap;
use std::io::BufRead;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use netd_engine::region::{Country, Region};

use super::ranges::Range;
use super::{Error, MAX_ROWS, csv};
use crate::{Kind, record};

/// Everything a file says.
pub(super) struct Table {
    pub(super) ranges: Vec<Range>,
    /// By [`Range::region`], in the order of their first row.
    pub(super) regions: Vec<Region>,
    /// Rows that say nothing.
    pub(super) empty: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Start,
    End,
    Network,
    Country,
    Asn,
    Name,
    Skipped,
}

impl Column {
    /// Reads a heading.
    fn named(text: &str) -> Self {
        match text.trim_matches('"').trim().to_ascii_lowercase().replace([' ', '-'], "_").as_str() {
            "start_ip" | "start" | "range_start" | "ip_start" | "ip_range_start" | "first" => Self::Start,
            "end_ip" | "end" | "range_end" | "ip_end" | "ip_range_end" | "last" => Self::End,
            "network" | "cidr" | "prefix" => Self::Network,
            "country_code" | "country" | "iso_code" | "country_iso_code" | "cc" => Self::Country,
            "asn" | "as_number" | "autonomous_system_number" => Self::Asn,
            "name"
            | "as_name"
            | "as_description"
            | "as_organization"
            | "autonomous_system_organization"
            | "organization"
            | "org" => Self::Name,
            _ => Self::Skipped,
        }
    }

    /// Returns the columns of a file that does not name them, judging by its first row.
    fn guessed(first: &[String]) -> Option<Vec<Self>> {
        let ends: &[Self] = match first {
            [network, ..] if network.contains('/') => &[Self::Network],
            [start, end, ..] if start.parse::<IpAddr>().is_ok() && end.parse::<IpAddr>().is_ok() => {
                &[Self::Start, Self::End]
            }
            _ => return None,
        };
        let is_number = |text: &String| text.strip_prefix("AS").unwrap_or(text).parse::<u32>().is_ok();
        let said: &[Self] = match &first[ends.len()..] {
            [number] if is_number(number) => &[Self::Asn],
            [_] => &[Self::Country],
            [number, _] if is_number(number) => &[Self::Asn, Self::Name],
            [number, _, _] if is_number(number) => &[Self::Asn, Self::Country, Self::Name],
            [_, number, _] if is_number(number) => &[Self::Country, Self::Asn, Self::Name],
            _ => return None,
        };
        Some([ends, said].concat())
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Start => "start_ip",
            Self::End => "end_ip",
            Self::Network => "network",
            Self::Country => "country_code",
            Self::Asn => "asn",
            Self::Name => "name",
            Self::Skipped => "column",
        }
    }
}

/// Reads all rows; a `kind` leaves the columns of the other one out.
pub(super) fn read(input: impl BufRead, path: &Path, kind: Option<Kind>) -> Result<Table, Error> {
    let mut lines = csv::Lines::new(input);
    let mut table = Table { ranges: Vec::new(), regions: Vec::new(), empty: 0 };
    let mut known: HashMap<Region, u32> = HashMap::new();
    let mut form: Option<(char, Vec<Column>)> = None;
    let mut fields = Vec::new();
    while let Some((line, text)) = lines.next().map_err(|error| line_error(path, error))? {
        let separator = form.as_ref().map_or(if text.contains('\t') { '\t' } else { ',' }, |(separator, _)| *separator);
        csv::fields(text, separator, &mut fields).map_err(|what| Error::Line { path: path.to_owned(), line, what })?;
        let at = Place { path, line };
        let Some((_, columns)) = &form else {
            let (columns, heading) = columns(&fields, kind).map_err(|what| at.columns(what))?;
            if !heading {
                table.add(&columns, &fields, at, &mut known)?;
            }
            form = Some((separator, columns));
            continue;
        };
        table.add(columns, &fields, at, &mut known)?;
    }
    Ok(table)
}

fn line_error(path: &Path, error: csv::Error) -> Error {
    match error {
        csv::Error::Io(source) => Error::Read { path: path.to_owned(), source },
        csv::Error::Line(line, what) => Error::Line { path: path.to_owned(), line, what },
    }
}

/// Returns the columns, and whether the line only names them.
fn columns(first: &[String], kind: Option<Kind>) -> Result<(Vec<Column>, bool), String> {
    let named: Vec<Column> = first.iter().map(|text| Column::named(text)).collect();
    let has = |columns: &[Column], wanted| columns.contains(&wanted);
    let heading = has(&named, Column::Network) || has(&named, Column::Start) && has(&named, Column::End);
    let mut columns = if heading {
        named
    } else {
        Column::guessed(first).ok_or(
            "neither a heading nor a row: start_ip,end_ip or network, then country_code, or asn,name, or \
             asn,country_code,name",
        )?
    };
    // Several columns may be of one meaning, like a country's name and its code: the one called code counts.
    if heading && let Some(code) = first.iter().position(|text| text.to_ascii_lowercase().contains("code")) {
        for (index, column) in columns.iter_mut().enumerate() {
            if *column == Column::Country && index != code && Column::named(&first[code]) == Column::Country {
                *column = Column::Skipped;
            }
        }
    }
    for column in &mut columns {
        let left_out = match (kind, *column) {
            (Some(Kind::Country), Column::Asn | Column::Name) | (Some(Kind::Asn), Column::Country) => true,
            (_, Column::Start | Column::End | Column::Network | Column::Skipped) => false,
            (_, Column::Country | Column::Asn | Column::Name) => false,
        };
        if left_out {
            *column = Column::Skipped;
        }
    }
    match (has(&columns, Column::Country), has(&columns, Column::Asn), kind) {
        (false, _, Some(Kind::Country)) => Err("there is no column with country codes".to_owned()),
        (_, false, Some(Kind::Asn)) => Err("there is no column with AS numbers".to_owned()),
        (false, false, None) => Err("there is no column with country codes or AS numbers".to_owned()),
        (_, _, Some(_) | None) => Ok((columns, heading)),
    }
}

/// Where a row stands, for errors.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    line: u64,
}

impl Place<'_> {
    fn columns(self, what: String) -> Error {
        Error::Columns { path: self.path.to_owned(), line: self.line, what }
    }

    fn field(self, column: Column, got: &str, wanted: &'static str) -> Error {
        let got = got.chars().take(40).collect();
        Error::Field { path: self.path.to_owned(), line: self.line, column: column.name(), got, wanted }
    }
}

impl Table {
    fn add(
        &mut self,
        columns: &[Column],
        fields: &[String],
        at: Place<'_>,
        known: &mut HashMap<Region, u32>,
    ) -> Result<(), Error> {
        if fields.len() != columns.len() {
            return Err(at.columns(format!("{} fields, where {} are expected", fields.len(), columns.len())));
        }
        let (first, last, region) = row(columns, fields, at)?;
        if region.is_empty() {
            self.empty += 1;
            return Ok(());
        }
        if self.ranges.len() >= MAX_ROWS {
            return Err(Error::TooManyRows { path: at.path.to_owned() });
        }
        let next = u32::try_from(self.regions.len()).unwrap_or(u32::MAX);
        let region = *known.entry(region).or_insert_with_key(|region| {
            self.regions.push(region.clone());
            next
        });
        self.ranges.push(Range { first, last, region, line: at.line });
        Ok(())
    }
}

fn row(columns: &[Column], fields: &[String], at: Place<'_>) -> Result<(u128, u128, Region), Error> {
    let (mut start, mut end, mut region) = (None, None, Region::default());
    for (column, text) in columns.iter().copied().zip(fields) {
        match column {
            Column::Start => start = Some(address(column, text, at)?),
            Column::End => end = Some(address(column, text, at)?),
            Column::Network => {
                let wanted = "an address prefix";
                let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
                let net = net.map_err(|_| at.field(column, text, wanted))?;
                if net.trunc() != net {
                    return Err(at.field(column, text, "a prefix without host bits"));
                }
                (start, end) = (Some(net.network().to_canonical()), Some(net.broadcast().to_canonical()));
            }
            Column::Country => region.country = country(text, at)?,
            Column::Asn => region.asn = number(text, at)?,
            Column::Name => region.as_name = Some(record::cleaned(text)).filter(|name| !name.is_empty()).map(Arc::from),
            Column::Skipped => {}
        }
    }
    // A name without a number says nothing: "Not routed".
    region.as_name = region.as_name.filter(|_| region.asn.is_some());
    let (Some(start), Some(end)) = (start, end) else { return Err(at.columns("no addresses".to_owned())) };
    let last = columns.iter().position(|column| matches!(column, Column::End | Column::Network)).unwrap_or_default();
    let (last, text) = (columns[last], &fields[last]);
    let (first_value, last_value) = (value(start), value(end));
    match (first_value, last_value) {
        // What says nothing may cover anything, like the unrouted rest of IPv6 from `::` on.
        (Some(first), Some(to)) if start.is_ipv4() == end.is_ipv4() && first <= to => Ok((first, to, region)),
        (None, _) if region.is_empty() && start <= end => Ok((0, 0, region)),
        (None, _) => Err(at.field(columns[0], &start.to_string(), "above ::ffff:ffff, where MMDB files have IPv4")),
        (Some(_), Some(_) | None) => Err(at.field(last, text, "an end at or after the start, of the same family")),
    }
}

/// Reads an address; an IPv4-mapped one is the IPv4 address.
fn address(column: Column, text: &str, at: Place<'_>) -> Result<IpAddr, Error> {
    let address: IpAddr = text.parse().map_err(|_| at.field(column, text, "an IP address"))?;
    Ok(address.to_canonical())
}

/// Returns an address's place in the search tree: IPv4 lies in `::/96`, where no IPv6 address can lie then.
fn value(address: IpAddr) -> Option<u128> {
    match address {
        IpAddr::V4(v4) => Some(u32::from(v4).into()),
        IpAddr::V6(v6) => Some(u128::from(v6)).filter(|value| *value > u32::MAX.into()),
    }
}

/// Returns the address at a place in the search tree.
pub(super) fn address_at(value: u128) -> IpAddr {
    u32::try_from(value).map_or_else(|_| Ipv6Addr::from(value).into(), |v4| IpAddr::from(v4.to_be_bytes()))
}

fn country(text: &str, at: Place<'_>) -> Result<Option<Country>, Error> {
    match text {
        "" | "-" | "--" | "None" | "none" | "ZZ" | "XX" => Ok(None),
        code => {
            Country::new(code).map(Some).ok_or_else(|| at.field(Column::Country, code, "a country code of two letters"))
        }
    }
}

fn number(text: &str, at: Place<'_>) -> Result<Option<u32>, Error> {
    match text {
        "" | "-" | "0" | "AS0" => Ok(None),
        number => record::asn(number).map(Some).ok_or_else(|| at.field(Column::Asn, number, "an AS number")),
    }
}
