//! The fields that can be asked about.

/// What a query is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    Flows,
    Findings,
    /// What is asked of DNS, by domain.
    Names,
    /// What may carry something inside of something else.
    Tunnels,
    /// Who waits on a port.
    Listeners,
}

/// Units that a number may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    None,
    /// `10K`, `1.5M`, `2GiB`.
    Amount,
    /// `90s`, `10m`, `1h30m`; kept in nanoseconds.
    Duration,
    /// `AS64500` or `64500`.
    Asn,
    /// `tcp` or `6`.
    Protocol,
    /// `low`, `high`.
    Severity,
}

/// What values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    /// A whole number from 0 to the largest.
    Number(Unit, i64),
    /// A number from 0 to 1.
    Share,
    Text(Case),
    /// A text without wildcards.
    Exact,
    /// The kernel's name of a process, cut to 15 bytes; with a slash, the executable's path.
    Process,
    /// A host name; without quotes or asterisk, whatever lies under it too.
    Name,
    /// One of a few words.
    Word(&'static [&'static str]),
}

/// How a text's letters compare: queries are brought to the case in which records have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    AsIs,
    Lower,
    Upper,
}

/// Declares the fields: variant, name, other names, kind, tables.
macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident $name:literal $also:tt $kind:expr, $tables:tt;)*) => {
        /// A property of a record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field { $($(#[$doc])* $variant),* }

        impl Field {
            /// Every field, in the order in which they are listed.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the name in queries.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            const fn other_names(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &$also),* }
            }

            pub(super) const fn kind(self) -> Kind {
                match self { $(Self::$variant => $kind),* }
            }

            const fn tables(self) -> &'static [Table] {
                match self { $(Self::$variant => &$tables),* }
            }
        }
    };
}

use Kind::{Address, Exact, Name, Number, Process, Share, Text, Word};
use Table::{Findings, Flows, Listeners, Names, Tunnels};

const PORT: Kind = Number(Unit::None, u16::MAX as i64);
const COUNT: Kind = Number(Unit::Amount, i64::MAX);

fields! {
    /// Originator.
    Src "src" [] Address, [Flows, Findings, Tunnels];
    /// Responder.
    Dst "dst" [] Address, [Flows, Findings, Tunnels, Listeners];
    /// Either end.
    Ip "ip" ["cidr"] Address, [Flows, Findings, Tunnels, Listeners];
    SrcPort "sport" [] PORT, [Flows];
    DstPort "dport" [] PORT, [Flows, Findings, Listeners];
    /// Either port.
    Port "port" [] PORT, [Flows, Findings, Listeners];
    Protocol "proto" [] Number(Unit::Protocol, u8::MAX as i64), [Flows, Findings, Listeners];
    Process "proc" ["comm", "process"] Process, [Flows, Findings, Listeners];
    Exe "exe" [] Text(Case::AsIs), [Flows, Findings, Listeners];
    Pid "pid" [] Number(Unit::None, u32::MAX as i64), [Flows, Findings, Listeners];
    User "user" [] Text(Case::AsIs), [Flows, Findings, Listeners];
    /// By name or id.
    Container "container" [] Text(Case::AsIs), [Flows, Findings, Listeners];
    Namespace "ns" [] Text(Case::AsIs), [Flows, Findings, Listeners];
    Pod "pod" [] Text(Case::AsIs), [Flows, Findings, Listeners];
    Name "name" ["domain"] Name, [Flows, Findings, Names, Tunnels];
    /// The name that TLS or QUIC asked for.
    Sni "sni" [] Name, [Flows];
    Service "service" [] Text(Case::Lower), [Flows];
    Ja4 "ja4" [] Text(Case::Lower), [Flows];
    /// Of the responder.
    Country "country" [] Text(Case::Upper), [Flows, Findings];
    Asn "asn" [] Number(Unit::Asn, u32::MAX as i64), [Flows, Findings];
    /// What netd came to: a rule of the kernel decided its packets, a finding is on its pair, or neither.
    Verdict "verdict" [] Word(&["allow", "alert", "block"]), [Flows];
    /// The kernel's rule, 0 for none.
    Rule "rule" [] Number(Unit::None, u32::MAX as i64), [Flows];
    /// Of a flow, the highest of the findings on its pair.
    Score "score" [] Share, [Flows, Findings];
    /// The number of the finding on a flow's pair.
    Finding "finding" [] Number(Unit::None, i64::MAX), [Flows];
    CommunityId "community_id" [] Exact, [Flows];
    State "state" [] Text(Case::Upper), [Flows];
    EndReason "end" [] Word(&["active", "idle", "closed", "reset", "reused", "forced", "lack_of_room"]), [Flows];
    Bytes "bytes" [] COUNT, [Flows, Names, Tunnels];
    /// From the responder.
    BytesIn "bytes_in" [] COUNT, [Flows, Names, Tunnels];
    /// From the originator.
    BytesOut "bytes_out" [] COUNT, [Flows, Names, Tunnels];
    Packets "packets" [] COUNT, [Flows];
    Duration "duration" [] Number(Unit::Duration, i64::MAX), [Flows];
    Turns "turns" [] COUNT, [Flows];
    Detector "detector" [] Text(Case::Lower), [Findings];
    Severity "severity" [] Number(Unit::Severity, 4), [Findings];
    /// How far people are with it.
    Status "status" [] Word(&["new", "ack", "escalated", "closed"]), [Findings];
    Assignee "assignee" [] Text(Case::AsIs), [Findings];
    /// An ATT&CK technique: `T1071.001`.
    Technique "attack" [] Text(Case::Upper), [Findings];
    Title "title" [] Text(Case::AsIs), [Findings];
    /// Grows in the order of arrival.
    Id "id" ["time"] Number(Unit::None, i64::MAX), [Flows, Findings, Names, Tunnels, Listeners];
}

impl Field {
    /// Returns the field of a name in a table.
    #[must_use]
    pub fn of(table: Table, name: &str) -> Option<Self> {
        let is_called = |field: &Self| field.name() == name || field.other_names().contains(&name);
        Self::listed(table).find(is_called)
    }

    /// Returns a table's fields.
    pub fn listed(table: Table) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |field| field.tables().contains(&table))
    }

    /// Returns the fields of a record that this one stands for: an end or a port may be either.
    #[must_use]
    pub fn parts(self) -> &'static [Self] {
        const TABLE: [(Field, &[Field]); 6] = [
            (Field::Ip, &[Field::Src, Field::Dst]),
            (Field::Src, &[Field::Src]),
            (Field::Dst, &[Field::Dst]),
            (Field::Port, &[Field::SrcPort, Field::DstPort]),
            (Field::SrcPort, &[Field::SrcPort]),
            (Field::DstPort, &[Field::DstPort]),
        ];
        TABLE.iter().find(|(field, _)| *field == self).map_or(&[], |(_, parts)| parts)
    }

    /// Returns whether records can be put in order by it.
    #[must_use]
    pub const fn is_sortable(self) -> bool {
        matches!(self.kind(), Number(Unit::None | Unit::Amount | Unit::Duration | Unit::Severity, _) | Share)
            && !matches!(self, Self::Port | Self::SrcPort | Self::DstPort)
    }
}

/// Fields in which a free word is looked for.
pub const WORDS: [Field; 8] = [
    Field::Name,
    Field::Process,
    Field::Exe,
    Field::Service,
    Field::User,
    Field::Container,
    Field::Detector,
    Field::Title,
];
