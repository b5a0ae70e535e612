//! What must and must not be found in a capture, as TOML.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// The expectations of a capture.
#[derive(Clone, Debug)]
pub struct Expected {
    /// One sentence: what the capture shows.
    pub about: &'static str,
    pub find: Vec<Found>,
    pub others: Others,
    /// How many packets cannot be parsed, where that is known.
    pub unparsed: Option<usize>,
}

/// A finding that must be there.
#[derive(Clone, Debug)]
pub struct Found {
    pub detector: &'static str,
    /// The port is that of the originator in this capture and is not looked at.
    pub originator: SocketAddr,
    pub responder: SocketAddr,
    pub protocol: &'static str,
    /// Of findings about a rhythm.
    pub rhythm: Option<Rhythm>,
    /// Whether it must, or must not, be strong enough to block; nothing is asked without it.
    pub block: Option<bool>,
}

/// When a rhythm must be found, and what it must be.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// A finding with fewer turns would have been a guess.
    pub min_turns: usize,
    /// It must have been raised by then.
    pub by_turn: usize,
    /// The interval that it names lies between these, in seconds.
    pub interval_s: [u32; 2],
}

/// What may be found beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    None,
    /// Findings for a person to look at, none of which may block.
    Unblocked,
}

impl Expected {
    /// Nothing may be found.
    pub(super) fn nothing(about: &'static str) -> Self {
        Self { about, find: Vec::new(), others: Others::None, unparsed: Some(0) }
    }

    /// Something may be found, nothing blocked.
    pub(super) fn no_block(about: &'static str) -> Self {
        Self { others: Others::Unblocked, ..Self::nothing(about) }
    }

    /// This must be found, and nothing else.
    pub(super) fn found(about: &'static str, found: Found) -> Self {
        Self { find: vec![found], ..Self::nothing(about) }
    }

    pub(super) fn to_toml(&self, file: &str, packets: usize, bytes: usize) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.put(&mut text, file, packets, bytes);
        text
    }

    fn put(&self, text: &mut String, file: &str, packets: usize, bytes: usize) -> std::fmt::Result {
        writeln!(text, "# Written with {file} by its generator: edit that.")?;
        writeln!(text, "about = \"{}\"", self.about)?;
        writeln!(text, "file = \"{file}\"")?;
        let others = match self.others {
            Others::None => "none",
            Others::Unblocked => "unblocked",
        };
        writeln!(text, "# What may be found beside: none, or unblocked findings.\nothers = \"{others}\"")?;
        writeln!(text, "\n[summary]\npackets = {packets}\nbytes = {bytes}")?;
        if let Some(unparsed) = self.unparsed {
            writeln!(text, "unparsed = {unparsed}")?;
        }
        self.find.iter().try_for_each(|found| found.put(text))
    }
}

impl Found {
    fn put(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n[[find]]\ndetector = \"{}\"", self.detector)?;
        writeln!(text, "originator = \"{}\"\nresponder = \"{}\"", self.originator.ip(), self.responder.ip())?;
        writeln!(text, "responder_port = {}\nprotocol = \"{}\"", self.responder.port(), self.protocol)?;
        if let Some(Rhythm { min_turns, by_turn, interval_s: [low, high] }) = self.rhythm {
            writeln!(text, "min_turns = {min_turns}\nby_turn = {by_turn}\ninterval_s = [{low}, {high}]")?;
        }
        if let Some(block) = self.block {
            writeln!(text, "block = {block}")?;
        }
        Ok(())
    }
}
