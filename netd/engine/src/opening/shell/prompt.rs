//! Prompts and banners of shells.

/// Where a line stands in what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// No line end follows: the cursor would wait here.
    Last,
    Inner,
}

/// Phrases of shells about themselves, whole or with what follows.
const PHRASES: [&str; 11] = [
    "no job control in this shell",
    "can't access tty; job control turned off",
    "cannot set terminal process group",
    "Microsoft Windows [Version ",
    "(c) Microsoft Corporation. All rights reserved.",
    "Copyright (c) Microsoft Corporation",
    "Windows PowerShell running as user ",
    "job control turned off",
    "stdin: is not a tty",
    "stty: 'standard input': Inappropriate ioctl for device",
    "Try the new cross-platform PowerShell https://aka.ms/",
];

const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "rbash"];

pub(super) fn is_banner(line: &str) -> bool {
    PHRASES.iter().any(|phrase| line.contains(phrase))
        || is_complaint(line)
        || is_identity(line)
        || is_python(line)
        || is_kernel(line)
}

/// "/bin/sh: ", "sh: 1: x: not found", "bash: line 3: x: command not found".
fn is_complaint(line: &str) -> bool {
    let Some((shell, rest)) = line.split_once(": ") else { return false };
    let name = shell.rsplit('/').next().unwrap_or_default();
    if !SHELLS.contains(&name) {
        return false;
    }
    let is_path = shell.starts_with("/bin/") || shell.starts_with("/usr/bin/");
    let number = rest.strip_prefix("line ").unwrap_or(rest);
    let is_numbered = number
        .split_once(": ")
        .is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    is_path || is_numbered || rest.ends_with(": command not found") || rest.ends_with(": not found")
}

/// The output of `id`: "uid=0(root) gid=0(root)".
fn is_identity(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("uid=") else { return false };
    let Some((uid, rest)) = rest.split_once('(') else { return false };
    !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit()) && rest.contains(") gid=")
}

/// "Python 3.11.2 (main, ...) [GCC 12.2.0] on linux".
fn is_python(line: &str) -> bool {
    let is_version = line.starts_with("Python 3.") || line.starts_with("Python 2.");
    is_version && [" on linux", " on win32", " on darwin"].iter().any(|system| line.ends_with(system))
}

/// The output of `uname -a`.
fn is_kernel(line: &str) -> bool {
    line.starts_with("Linux ") && line.contains(" #") && (line.ends_with(" GNU/Linux") || line.contains(" SMP "))
}

pub(super) fn is_prompt(line: &str, place: Line) -> bool {
    let is_bare = matches!(line, "$ " | "# " | "% " | ">>> ");
    (place == Line::Last && is_bare)
        || is_versioned(line)
        || is_account(line)
        || is_bracketed(line)
        || is_path_only(line, place)
        || is_windows(line, place)
        || is_two_line(line, place)
}

/// Returns what stands before the mark, where a mark and a space follow.
fn before_mark<'a>(line: &'a str, marks: &[char]) -> Option<&'a str> {
    let at = line.find(marks)?;
    let after = line[at..].chars().nth(1);
    matches!(after, Some(' ')).then(|| &line[..at])
}

/// "sh-5.1$ ", "bash-5.2# ".
fn is_versioned(line: &str) -> bool {
    let Some(before) = before_mark(line, &['$', '#']) else { return false };
    let Some((shell, version)) = before.split_once('-') else { return false };
    let Some((major, minor)) = version.split_once('.') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    SHELLS.contains(&shell) && is_number(major) && is_number(minor)
}

fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_letter)
}

/// "user@host:/path$ ", "user@host:~# ", behind the name of a virtual environment too.
fn is_account(line: &str) -> bool {
    let line = match line.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((environment, rest)) if is_word(environment) => rest,
        Some(_) | None => line,
    };
    let Some(before) = before_mark(line, &['$', '#', '%']) else { return false };
    let Some((account, path)) = before.split_once(':') else { return false };
    let Some((user, host)) = account.split_once('@') else { return false };
    let is_path = path.starts_with('/') || path.starts_with('~');
    is_word(user) && is_word(host) && is_path && !path.contains(char::is_whitespace)
}

/// "[user@host directory]$ ".
fn is_bracketed(line: &str) -> bool {
    let Some((inside, after)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return false };
    let is_marked = after.starts_with("$ ") || after.starts_with("# ");
    let Some((account, directory)) = inside.split_once(' ') else { return false };
    let Some((user, host)) = account.split_once('@') else { return false };
    is_marked && is_word(user) && is_word(host) && (directory == "~" || directory == "/" || is_word(directory))
}

/// "/ # ", "~ $ ", "/tmp # ": small systems.
fn is_path_only(line: &str, place: Line) -> bool {
    let path = line.strip_suffix(" # ").or_else(|| line.strip_suffix(" $ "));
    let is_path = |path: &str| {
        path == "~" || (path.starts_with('/') && path[1..].split('/').all(|part| part.is_empty() || is_word(part)))
    };
    place == Line::Last && path.is_some_and(is_path)
}

/// "C:\Users\bee>", "PS C:\>", with or without a command behind it.
fn is_windows(line: &str, place: Line) -> bool {
    let line = line.strip_prefix("PS ").unwrap_or(line);
    let [b'A'..=b'Z', b':', b'\\', ..] = line.as_bytes() else { return false };
    let Some((path, after)) = line.split_once('>') else { return false };
    let is_path = path.get(2..).is_some_and(|path| !path.contains(['<', '"', '|', '?', '*', '/', ':']));
    let waits = after.trim().is_empty() && place == Line::Last;
    let is_echo = !after.is_empty() && after.len() < 128 && !after.contains('>');
    is_path && (waits || is_echo)
}

/// The second line of prompts in two: "└─$ ", "╰─# ".
fn is_two_line(line: &str, place: Line) -> bool {
    place == Line::Last && ["└─$ ", "└─# ", "╰─$ ", "╰─# "].contains(&line)
}
