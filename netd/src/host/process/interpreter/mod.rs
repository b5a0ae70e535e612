//! Whether an interpreter runs a file, or only what it was told: on the line, on its standard input, by hand.
//!
//! A service is a script that lies somewhere; an intruder's one-liner does not.

mod families;

use families::{FAMILIES, Family};

/// Programs of many names, and what only starts another.
const MULTICALL: [&str; 2] = ["busybox", "toybox"];
const ENV: &str = "env";
/// Options of env(1) with a value in the next argument.
const ENV_VALUES: [&str; 6] = ["-u", "--unset", "-C", "--chdir", "-a", "--argv0"];

/// Returns whether a process is an interpreter that runs no file.
///
/// `program` is the executable's path, or the process's name where that is not known.
#[must_use]
pub fn is_bare(program: &str, arguments: &[String]) -> bool {
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut name = stem(program);
    if MULTICALL.contains(&name.as_str()) {
        let first = words.first().map(|word| stem(word)).unwrap_or_default();
        if MULTICALL.contains(&first.as_str()) || first.is_empty() {
            words.drain(..words.len().min(1));
        }
        name = words.first().map(|word| stem(word)).unwrap_or_default();
    }
    let mut split = Vec::new();
    if name == ENV {
        split = behind_env(words.get(1..).unwrap_or_default());
        name = split.first().map(|word| stem(word)).unwrap_or_default();
    }
    let words: Vec<&str> = if split.is_empty() { words } else { split.iter().map(String::as_str).collect() };
    let Some(family) = FAMILIES.iter().find(|family| family.names.contains(&name.as_str())) else { return false };
    family.is_bare(words.get(1..).unwrap_or_default())
}

impl Family {
    fn is_bare(&self, words: &[&str]) -> bool {
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let lower = word.to_ascii_lowercase();
            let long = lower.split('=').next().unwrap_or_default();
            if self.long_code.contains(&long) {
                return true;
            }
            if self.long_value.contains(&long) {
                if !lower.contains('=') {
                    words.next();
                }
                continue;
            }
            match word {
                "--" => return words.next().is_none_or(|operand| self.is_inline || is_descriptor(operand)),
                _ if word.starts_with("--") => {}
                _ if is_option(word) => match self.cluster(word) {
                    Cluster::Code => return true,
                    Cluster::File => return false,
                    Cluster::ValueFollows => drop(words.next()),
                    Cluster::Flags => {}
                },
                operand => return self.is_inline || is_descriptor(operand),
            }
        }
        true
    }

    /// Reads `-abc`, of which one letter may take the rest, or the next argument.
    fn cluster(&self, word: &str) -> Cluster {
        // Behind a dash, or the plus with which shells take an option back.
        let letters = word.get(1..).unwrap_or_default();
        for (index, letter) in letters.char_indices() {
            if self.code.contains(letter) {
                return Cluster::Code;
            }
            if self.file.contains(letter) {
                return Cluster::File;
            }
            if self.attached.contains(letter) {
                return Cluster::Flags;
            }
            if self.value.contains(letter) {
                let is_last = index + letter.len_utf8() == letters.len();
                return if is_last { Cluster::ValueFollows } else { Cluster::Flags };
            }
        }
        Cluster::Flags
    }
}

enum Cluster {
    Code,
    File,
    ValueFollows,
    Flags,
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with(['-', '+'])
}

/// Returns whether an operand is no file that lies anywhere: standard input, or another descriptor.
fn is_descriptor(operand: &str) -> bool {
    operand == "-"
        || operand == "/dev/stdin"
        || operand.starts_with("/dev/fd/")
        || operand.starts_with("/proc/self/fd/")
        || operand.starts_with("/dev/tcp/")
}

/// Returns the file name in lower case without version, as an interpreter is called: `python3.11` is `python`.
fn stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    // A login shell's first argument.
    let name = name.strip_prefix('-').unwrap_or(name).to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-');
    if bare.is_empty() { name.to_owned() } else { bare.to_owned() }
}

/// Returns the command that env(1) starts, with `-S` taken apart.
fn behind_env(words: &[&str]) -> Vec<String> {
    let mut words = words.iter().copied();
    let mut command = Vec::new();
    while let Some(word) = words.next() {
        let split = match word {
            "-S" | "--split-string" => words.next(),
            _ => word.strip_prefix("--split-string=").or_else(|| word.strip_prefix("-S")),
        };
        if let Some(split) = split {
            command.extend(split.split_ascii_whitespace().map(str::to_owned));
            break;
        }
        if ENV_VALUES.contains(&word) {
            words.next();
        } else if !is_option(word) && word != "-" && !word.contains('=') {
            command.push(word.to_owned());
            break;
        }
    }
    command.extend(words.map(str::to_owned));
    command
}

#[cfg(test)]
mod tests;
