//! Signs of a reverse shell in the clear: a host that connects somewhere and shows its prompt there.
//!
//! Only for openings of no known protocol: mail, chat and file transfer have words of their own.

mod command;
mod prompt;
mod terminal;

use prompt::Line;

/// Lines looked at in one record.
const MOST_LINES: usize = 32;
/// A line longer than this is no prompt and no command.
const LONGEST_LINE: usize = 256;

/// What gives a reverse shell away, from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ShellSign {
    /// The accepting side sends what looks like a command line.
    Command,
    /// The connecting side sends a prompt.
    Prompt,
    /// The connecting side sends what only a shell says: its banner, its complaint, the output of `id`.
    Banner,
}

/// Reads one record of the side that connected.
pub(super) fn of_originator(bytes: &[u8]) -> Option<ShellSign> {
    let text = terminal::plain(bytes)?;
    let lines: Vec<&str> = text.lines().take(MOST_LINES).filter(|line| line.len() <= LONGEST_LINE).collect();
    if lines.iter().any(|line| prompt::is_banner(line)) {
        return Some(ShellSign::Banner);
    }
    let last = text.rsplit('\n').next().unwrap_or_default();
    let waits = last.len() <= LONGEST_LINE && prompt::is_prompt(last, Line::Last);
    let has_prompt = waits || lines.iter().any(|line| prompt::is_prompt(line, Line::Inner));
    has_prompt.then_some(ShellSign::Prompt)
}

/// Reads one record of the side that accepted.
pub(super) fn of_responder(bytes: &[u8]) -> Option<ShellSign> {
    let text = terminal::plain(bytes)?;
    // A command is sent when its line is.
    if !text.ends_with('\n') {
        return None;
    }
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let is_command = lines.next().is_some_and(command::is_command) && lines.all(|line| line.len() <= LONGEST_LINE);
    is_command.then_some(ShellSign::Command)
}

#[cfg(test)]
mod tests;
