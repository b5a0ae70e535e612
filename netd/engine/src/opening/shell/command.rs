//! Command lines that people type first into a shell that is not theirs.

/// Complete command lines.
const WHOLE: [&str; 26] = [
    "id",
    "whoami",
    "hostname",
    "pwd",
    "ls",
    "ps",
    "uname",
    "env",
    "ifconfig",
    "ipconfig",
    "netstat",
    "systeminfo",
    "tasklist",
    "dir",
    "ver",
    "groups",
    "last",
    "mount",
    "df",
    "sudo -l",
    "bash -i",
    "sh -i",
    "/bin/bash",
    "/bin/sh",
    "quser",
    "arp -a",
];

/// Beginnings of command lines, with what must follow in part.
const BEGINNINGS: [&str; 35] = [
    "id;",
    "whoami;",
    "whoami /",
    "whoami &&",
    "hostname;",
    "uname -",
    "ls -",
    "ls /",
    "ls ~",
    "cd /",
    "cd ~",
    "cd ..",
    "cd C:\\",
    "cat /",
    "ps -",
    "ps aux",
    "ip a",
    "ip r",
    "ipconfig /",
    "netstat -",
    "net user",
    "net localgroup",
    "net view",
    "dir C:\\",
    "dir /",
    "type C:\\",
    "find / ",
    "wget http",
    "curl http",
    "curl -",
    "python -c ",
    "python3 -c ",
    "export TERM=",
    "stty raw",
    "script /dev/null",
];

/// Returns whether a line is a command that a person types first.
pub(super) fn is_command(line: &str) -> bool {
    let line = line.trim_end();
    let is_short = line.len() <= super::LONGEST_LINE;
    is_short && (WHOLE.contains(&line) || BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)))
}
