use proptest::prelude::*;

use super::*;

#[test]
fn prompts_of_shells_are_seen() {
    for prompt in [
        "$ ",
        "# ",
        "sh-5.1$ ",
        "bash-5.2# ",
        "www-data@web01:/var/www/html$ ",
        "root@kali:~# ",
        "(venv) bee@host:~/x$ ",
        "[bee@host ~]$ ",
        "/ # ",
        "~ $ ",
        "C:\\Windows\\system32>",
        "PS C:\\Users\\bee> ",
        "file1\nfile2\n$ ",
        "sh-5.1$ id\n",
        "\x1b[01;32mbee@host\x1b[00m:\x1b[01;34m~\x1b[00m$ ",
        "\x1b]0;bee@host: ~\x07bee@host:~$ ",
        "┌──(bee㉿kali)-[~]\n└─$ ",
    ] {
        assert_eq!(of_originator(prompt.as_bytes()), Some(ShellSign::Prompt), "{prompt:?}");
    }
}

#[test]
fn banners_and_complaints_of_shells_are_seen() {
    for banner in [
        "bash: cannot set terminal process group (1234): Inappropriate ioctl for device\nbash: no job control in this shell\n",
        "/bin/sh: 0: can't access tty; job control turned off\n$ ",
        "Microsoft Windows [Version 10.0.19045.3803]\r\n(c) Microsoft Corporation. All rights reserved.\r\n\r\nC:\\>",
        "Windows PowerShell running as user bee on HOST\nCopyright (C) Microsoft Corporation.\n",
        "Python 3.11.2 (main, Nov 30 2024, 21:22:50) [GCC 12.2.0] on linux\nType \"help\" for more.\n>>> ",
        "uid=33(www-data) gid=33(www-data) groups=33(www-data)\n",
        "/bin/sh: foo: not found\n",
        "sh: 1: foo: not found\n",
        "bash: line 1: foo: command not found\n",
        "Linux web01 6.1.0-18-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 x86_64 GNU/Linux\n",
    ] {
        assert_eq!(of_originator(banner.as_bytes()), Some(ShellSign::Banner), "{banner:?}");
    }
}

#[test]
fn first_commands_of_the_accepting_side_are_a_weaker_sign() {
    for command in
        ["id\n", "whoami\r\n", "uname -a\n", "cat /etc/passwd\n", "ipconfig /all\r\n", "ls -la\n", "cd /tmp; ls\n"]
    {
        assert_eq!(of_responder(command.as_bytes()), Some(ShellSign::Command), "{command:?}");
    }
    assert!(ShellSign::Command < ShellSign::Prompt && ShellSign::Prompt < ShellSign::Banner);
}

#[test]
fn what_other_protocols_say_is_no_shell() {
    for bytes in [
        "220 mail.example.org ESMTP Postfix\r\n",
        "EHLO bee.example.org\r\n",
        "MAIL FROM:<bee@example.org>\r\n",
        "From: bee@example.org\r\nTo: hive@example.org\r\nSubject: $ 100 # now\r\n\r\nhello\r\n",
        "NICK bee\r\nUSER bee 0 * :Bee\r\n",
        ":bee!bee@example.org PRIVMSG #hive :buy honey for $ 5\r\n",
        "220 (vsFTPd 3.0.5)\r\n",
        "257 \"/home/bee\" is the current directory\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6p1 Debian-4\r\n",
        "git-upload-pack /srv/x.git\0host=example.org\0",
        "{\"path\": \"C:\\\\Users\\\\bee>\", \"price\": \"$ 5\"}",
        "# a comment\nkey = value\n",
        "<13>Oct 11 22:14:15 host su: 'su root' failed for bee on /dev/pts/8\n",
        "cpu.load 0.42 1700000000\n",
        "key@host:value $5",
        "100% sure\n",
        "",
        "\n",
        "$",
        "$5 ",
    ] {
        assert_eq!(of_originator(bytes.as_bytes()), None, "{bytes:?}");
        assert_eq!(of_responder(bytes.as_bytes()), None, "{bytes:?}");
    }
}

#[test]
fn words_of_servers_are_no_commands() {
    for bytes in [
        "identify yourself\n",
        "idle\n",
        "login: ",
        "Password: ",
        "ls",
        "PING :irc.example.org\r\n",
        "list\r\n",
        "OK\n",
        "pwd?\n",
    ] {
        assert_eq!(of_responder(bytes.as_bytes()), None, "{bytes:?}");
    }
}

#[test]
fn binary_with_a_prompt_in_it_is_no_shell() {
    assert_eq!(of_originator(b"\x00\x01\x02sh-5.1$ "), None);
    assert_eq!(of_originator(b"\xff\xfe\xfdsh-5.1$ "), None);
}

proptest! {
    #[test]
    fn no_bytes_are_a_danger(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        of_originator(&bytes);
        of_responder(&bytes);
    }

    #[test]
    fn no_text_is_a_danger(text in "[\\x1b\\[\\]();$#%>:@~/A-Za-z0-9 \\\\\r\n\u{2514}\u{2500}.-]{0,200}") {
        of_originator(text.as_bytes());
        of_responder(text.as_bytes());
    }

    /// Prose has none of the marks.
    #[test]
    fn prose_is_no_shell(text in "[A-Z][a-z]{2,9}( [a-z]{2,9}){1,20}\\.\r\n") {
        prop_assert_eq!(of_originator(text.as_bytes()), None);
    }

    /// Numbers, hexadecimal and base64, as agents report them.
    #[test]
    fn telemetry_is_no_shell(text in "([a-z.]{3,12}[=: ][0-9a-fA-F+/=.]{1,40}[,\n ]){1,20}") {
        prop_assert_eq!(of_originator(text.as_bytes()), None);
    }
}
