//! What a shell without a terminal says of itself, and what people ask it first.

/// Bytes that are looked at: banner and first prompt of any shell.
const LOOKED_AT: usize = 512;
/// A prompt longer than this is no prompt.
const LONGEST_PROMPT: usize = 128;

/// What only a shell, or the answer to a first command, says.
const BANNERS: [&[u8]; 9] = [
    b"no job control in this shell",
    b"job control turned off",
    b"cannot set terminal process group",
    b"Microsoft Windows [Version ",
    b"Windows PowerShell running as user",
    b"Copyright (C) Microsoft Corporation. All rights reserved.\r\n\r\nPS ",
    b"(c) Microsoft Corporation. All rights reserved.",
    b"BusyBox v",
    b"uid=0(root) gid=",
];

/// Programs whose names begin the first lines that people type into a fresh shell.
const COMMANDS: [&[u8]; 47] = [
    b"id",
    b"whoami",
    b"uname",
    b"hostname",
    b"pwd",
    b"ls",
    b"cd",
    b"cat",
    b"ps",
    b"w",
    b"who",
    b"env",
    b"set",
    b"echo",
    b"ip",
    b"ifconfig",
    b"netstat",
    b"ss",
    b"find",
    b"grep",
    b"sudo",
    b"su",
    b"python",
    b"python3",
    b"perl",
    b"script",
    b"stty",
    b"export",
    b"unset",
    b"wget",
    b"curl",
    b"chmod",
    b"mkdir",
    b"rm",
    b"cp",
    b"mv",
    b"bash",
    b"sh",
    b"/bin/sh",
    b"/bin/bash",
    b"dir",
    b"type",
    b"ipconfig",
    b"systeminfo",
    b"tasklist",
    b"net",
    b"powershell",
];

/// Returns whether the bytes begin with a shell's banner or end with its prompt.
pub(super) fn is_prompt(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(LOOKED_AT)];
    if BANNERS.iter().any(|banner| bytes.windows(banner.len()).any(|part| part == *banner)) {
        return true;
    }
    let plain = without_escapes(bytes);
    let line = plain.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() > LONGEST_PROMPT || !line.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return false;
    }
    is_unix_prompt(line) || is_windows_prompt(line)
}

/// "$ ", "# ", "sh-5.1# ", "user@host:/tmp$ ", "/ # ": a word that names version, user or place, if any, then the sign.
fn is_unix_prompt(line: &[u8]) -> bool {
    let Some(before) =
        line.strip_suffix(b"$ ").or_else(|| line.strip_suffix(b"# ")).or_else(|| line.strip_suffix(b"% "))
    else {
        return false;
    };
    let before = before.strip_suffix(b" ").unwrap_or(before);
    let names_shell = [&b"sh-"[..], b"bash-", b"dash-", b"zsh-", b"ksh-"].iter().any(|shell| before.starts_with(shell));
    let names_place = before.contains(&b'@') || before.starts_with(b"/") || before.starts_with(b"~");
    let is_bare = before.is_empty() && !line.starts_with(b"%");
    let words = before.split(|byte| *byte == b' ').count();
    is_bare || (words <= 2 && (names_shell || names_place))
}

/// "C:\Windows\system32>" and "PS C:\Users\me> ".
fn is_windows_prompt(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"PS ").unwrap_or(line);
    let line = line.strip_suffix(b" ").unwrap_or(line);
    matches!(line, [b'A'..=b'Z' | b'a'..=b'z', b':', b'\\', .., b'>']) || matches!(line, [_, b':', b'\\', b'>'])
}

/// Leaves out ANSI escape sequences: CSI to its final byte, OSC to BEL or ST (ECMA-48, 5.4 and 8.3.89).
fn without_escapes(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match (byte, rest.peek()) {
            (0x1b, Some(b'[')) => {
                rest.next();
                rest.by_ref().find(|byte| matches!(byte, 0x40..=0x7e));
            }
            (0x1b, Some(b']')) => {
                rest.by_ref().find(|byte| matches!(byte, 0x07 | b'\\'));
            }
            _ => plain.push(byte),
        }
    }
    plain
}

/// Returns whether the bytes are one line, or a few, that begin with the name of a program people try first.
pub(super) fn is_command(bytes: &[u8]) -> bool {
    const LONGEST: usize = 256;
    let Some(line) = bytes.strip_suffix(b"\n") else { return false };
    let is_text = line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'));
    if bytes.len() > LONGEST || !is_text {
        return false;
    }
    let first = line.split(|byte| matches!(byte, b' ' | b'\r' | b'\n' | b';' | b'|' | b'&')).next();
    first.is_some_and(|word| COMMANDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_of_shells_are_known() {
        let prompts = [
            "$ ",
            "# ",
            "sh-5.1$ ",
            "/bin/sh: 0: can't access tty; job control turned off\n$ ",
            "bash: cannot set terminal process group (812): Inappropriate ioctl for device\n",
            "www-data@web-1:/var/www$ ",
            "\x1b]0;me@host: ~\x07\x1b[01;32mme@host\x1b[00m:\x1b[01;34m~\x1b[00m$ ",
            "/ # ",
            "Microsoft Windows [Version 10.0.19045.3803]\r\n",
            "C:\\Windows\\system32>",
            "PS C:\\Users\\me> ",
            "uid=0(root) gid=0(root) groups=0(root)\n",
        ];

        for prompt in prompts {
            assert!(is_prompt(prompt.as_bytes()), "{prompt:?}");
        }
    }

    #[test]
    fn what_clients_of_other_protocols_say_first_is_no_prompt() {
        let others = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "EHLO mail.example.org\r\n",
            "USER anonymous\r\n",
            "NICK me\r\nUSER me 0 * :me\r\n",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "a001 LOGIN me secret\r\n",
            "{\"jsonrpc\":\"2.0\",\"method\":\"eth_submitLogin\"}\n",
            "the price is 5 $ ",
            "100% ",
            "# comment that goes on\n",
            "",
        ];

        for other in others {
            assert!(!is_prompt(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn first_commands_are_known() {
        for command in
            ["id\n", "whoami\r\n", "uname -a; id\n", "python3 -c 'import pty'\n", "ls\n", "cat /etc/passwd\n"]
        {
            assert!(is_command(command.as_bytes()), "{command:?}");
        }
    }

    #[test]
    fn greetings_of_servers_are_no_commands() {
        for greeting in
            ["220 ftp.example.org ready\r\n", "* OK ready\r\n", ":irc 001 me :hi\r\n", "idle\n", "id", "+OK\r\n"]
        {
            assert!(!is_command(greeting.as_bytes()), "{greeting:?}");
        }
    }
}
