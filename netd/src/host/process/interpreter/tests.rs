use proptest::prelude::*;

use super::*;

fn is_bare_line(program: &str, line: &str) -> bool {
    is_bare(program, &line.split('|').map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn a_program_on_the_line_or_on_standard_input_is_bare() {
    for (program, line) in [
        ("/usr/bin/dash", "sh"),
        ("/usr/bin/bash", "-bash"),
        ("/usr/bin/bash", "bash|-i"),
        ("/usr/bin/bash", "bash|-c|id"),
        ("/usr/bin/bash", "bash|-lc|id"),
        ("/usr/bin/bash", "bash|-o|pipefail|-c|id"),
        ("/usr/bin/bash", "bash|--norc|--rcfile|/tmp/rc|-i"),
        ("/usr/bin/bash", "bash|-s|argument"),
        ("/usr/bin/bash", "bash|--|-"),
        ("/usr/bin/bash", "bash|/dev/fd/63"),
        ("/usr/bin/python3.11", "python3|-"),
        ("/usr/bin/python3.11", "python3|-Iuc|import os"),
        ("/usr/bin/python3.11", "python3|-W|ignore|-c|import os"),
        ("/usr/bin/python3.11", "python3"),
        ("/usr/bin/perl", "perl|-e|exec"),
        ("/usr/bin/perl", "perl|-MIO::Socket|-e|exec"),
        ("/usr/bin/perl", "perl|-lne|print"),
        ("/usr/bin/ruby3.1", "ruby|-rsocket|-e|exit"),
        ("/usr/bin/php8.2", "php|-d|a=b|-r|exec"),
        ("/usr/bin/lua5.4", "lua5.4|-l|socket|-e|x"),
        ("/usr/bin/node", "node|--require|x|-e|x"),
        ("/usr/bin/node", "node|--eval=x"),
        ("/usr/bin/gawk", "gawk|-v|a=b|BEGIN {}"),
        ("/usr/bin/busybox", "sh|-c|id"),
        ("/usr/bin/busybox", "busybox|sh|-i"),
        ("/usr/bin/busybox", "/bin/busybox|ash"),
        ("/usr/bin/env", "env|-S|python3 -c|import os"),
        ("/usr/bin/env", "/usr/bin/env|-i|A=b|-u|X|bash|-i"),
        ("/usr/bin/expect", "expect|-c|spawn"),
        ("/usr/bin/pwsh", "pwsh|-ExecutionPolicy|Bypass|-EncodedCommand|AAAA"),
        ("bash", ""),
    ] {
        assert!(is_bare_line(program, line), "{program} {line}");
    }
}

#[test]
fn an_interpreter_of_a_file_is_like_any_program() {
    for (program, line) in [
        ("/usr/bin/dash", "sh|/usr/bin/script|-c|id"),
        ("/usr/bin/bash", "bash|-x|-o|errexit|script|-i"),
        ("/usr/bin/bash", "bash|+o|posix|script"),
        ("/usr/bin/bash", "bash|--rcfile|rc|script"),
        ("/usr/bin/bash", "bash|--|script"),
        ("/usr/bin/python3.11", "/usr/bin/python3|-u|/usr/bin/backup|-c|x"),
        ("/usr/bin/python3.11", "python3|-X|dev|-m|http.server"),
        ("/usr/bin/python3.11", "python3|-um|http.server"),
        ("/usr/bin/perl", "perl|-w|-I|lib|/usr/bin/tool|-e|x"),
        ("/usr/bin/ruby3.1", "ruby|-W0|script.rb"),
        ("/usr/bin/php8.2", "php|-f|index.php"),
        ("/usr/bin/php8.2", "php|-S|127.0.0.1:80|-t|/srv"),
        ("/usr/bin/php8.2", "php|artisan"),
        ("/usr/bin/node", "node|--require|x|server.js|-e"),
        ("/usr/bin/gawk", "gawk|-f|program.awk|data"),
        ("/usr/bin/busybox", "sh|/etc/init.d/rcS"),
        ("/usr/bin/busybox", "busybox|wget|-c|x"),
        ("/usr/bin/env", "env|-S|python3 -u|script.py"),
        ("/usr/bin/expect", "expect|-f|script"),
    ] {
        assert!(!is_bare_line(program, line), "{program} {line}");
    }
}

#[test]
fn what_is_no_interpreter_is_never_bare() {
    for (program, line) in [
        ("/usr/bin/curl", "curl|-e|x"),
        ("/usr/sbin/sshd", "sshd|-c|x"),
        ("/usr/sbin/php-fpm8.2", "php-fpm: master process"),
        ("/usr/bin/bashful", "bashful"),
        ("/usr/bin/env", "env"),
        ("", ""),
    ] {
        assert!(!is_bare_line(program, line), "{program} {line}");
    }
}

proptest! {
    #[test]
    fn no_arguments_make_the_reader_panic(
        program in "(/usr/bin/)?(bash|perl|php|busybox|env|node|awk|é)",
        arguments in prop::collection::vec("[-+]{0,2}[a-zA-Z0=é]{0,4}|\\PC{0,8}", 0..6),
    ) {
        let _ = is_bare(&program, &arguments);
    }
}
