//! Services that the victim offers: what they run has accepted sockets, or pipes to whoever accepted them.

use super::{Case, LOCAL, Side};

const SERVICE: Case = Case { listener: Some(Side::Victim), player: Side::Outside, ..LOCAL };

/// Throw-away keys; sshd wants its folder to be there.
pub(super) const KEYS: &str = "mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f {dir}/key; \
    ssh-keygen -q -t ed25519 -N '' -f {dir}/host";
pub(super) const SSHD: &str = "Port {port}\nHostKey {dir}/host\nAuthorizedKeysFile {dir}/key.pub\nStrictModes no\n\
    UsePAM no\nPidFile none\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n";
pub(super) const REPOSITORY: &str = "git init -q {dir}/repo && cd {dir}/repo && echo harmless > file && git add file && \
    git -c user.name=n -c user.email=n@example.org commit -qm one && git update-server-info; ";

/// A service that is a shell script, as in inetd's days.
const SCRIPT: (&str, &str) = ("service", "read name\necho \"hello $name\"\nid | tr a-z A-Z\nuname -a\n");

pub(super) const ALL: &[Case] = &[
    Case {
        name: "sshd, commands and a terminal",
        needs: &["sshd", "ssh"],
        files: &[("sshd", SSHD)],
        prepare: KEYS,
        victim: "exec /usr/sbin/sshd -D -e -f {dir}/sshd",
        play: "ssh {ssh} -p {port} root@{victim} 'id; sleep 0.3; uname -a; ls / | sort | head -3'; \
               (echo id; sleep 0.5; echo exit) | ssh {ssh} -tt -p {port} root@{victim} && echo done",
        answer: "done",
        ..SERVICE
    },
    Case {
        name: "sshd -i by socket activation",
        needs: &["sshd", "ssh", "systemd-socket-activate"],
        files: &[("sshd", SSHD)],
        prepare: KEYS,
        victim: "exec systemd-socket-activate --inetd -a -l {victim}:{port} /usr/sbin/sshd -i -f {dir}/sshd",
        play: "ssh {ssh} -p {port} root@{victim} 'sh -c \"id; ls / | sort\"' && echo done",
        answer: "done",
        ..SERVICE
    },
    Case {
        name: "socket activation of a script",
        needs: &["systemd-socket-activate", "nc.openbsd"],
        files: &[SCRIPT],
        victim: "exec systemd-socket-activate --inetd -a -l {victim}:{port} /bin/sh {dir}/service",
        play: "echo netd | nc.openbsd {victim} {port}",
        answer: "hello netd",
        ..SERVICE
    },
    Case {
        name: "xinetd with a script",
        needs: &["xinetd", "nc.openbsd"],
        files: &[
            SCRIPT,
            (
                "xinetd",
                "service lab\n{\n type = UNLISTED\n port = {port}\n socket_type = stream\n protocol = tcp\n wait = no\n\
                 user = root\n server = /bin/sh\n server_args = {dir}/service\n bind = {victim}\n disable = no\n}\n",
            ),
        ],
        victim: "exec xinetd -dontfork -f {dir}/xinetd -pidfile {dir}/pid",
        play: "echo netd | nc.openbsd {victim} {port}",
        answer: "hello netd",
        ..SERVICE
    },
    Case {
        name: "inetd with a script",
        needs: &["inetd", "nc.openbsd"],
        files: &[SCRIPT, ("inetd.conf", "{victim}:{port} stream tcp nowait root /bin/sh sh {dir}/service\n")],
        victim: "exec inetd -i {dir}/inetd.conf",
        play: "echo netd | nc.openbsd {victim} {port}",
        answer: "hello netd",
        ..SERVICE
    },
    Case {
        name: "git daemon",
        needs: &["/usr/bin/git"],
        prepare: REPOSITORY,
        victim: "exec git daemon --reuseaddr --listen={victim} --port={port} --base-path={dir} --export-all {dir}",
        play: "git clone -q git://{victim}:{port}/repo {dir}/clone && cat {dir}/clone/file",
        answer: "harmless",
        ..SERVICE
    },
    Case {
        name: "rsync daemon with a hook",
        needs: &["rsync"],
        files: &[
            ("file", "harmless\n"),
            ("hook", "#!/bin/sh\nid | sort\n"),
            (
                "rsyncd",
                "use chroot = no\nuid = root\ngid = root\n[share]\npath = {dir}\npre-xfer exec = /bin/sh {dir}/hook\n",
            ),
        ],
        victim: "exec rsync --daemon --no-detach --config={dir}/rsyncd --address={victim} --port={port}",
        play: "rsync rsync://{victim}:{port}/share/file {dir}/copy && cat {dir}/copy",
        answer: "harmless",
        ..SERVICE
    },
    // While the script runs, the server holds a connection that it opened to its upstream.
    Case {
        name: "CGI under lighttpd with an upstream",
        needs: &["lighttpd", "curl", "/usr/bin/python3"],
        files: &[
            (
                "lighttpd",
                "server.document-root = \"{dir}\"\nserver.bind = \"{victim}\"\nserver.port = {port}\n\
                 server.modules = (\"mod_cgi\", \"mod_proxy\")\ncgi.assign = (\".sh\" => \"/bin/sh\")\n\
                 $HTTP[\"url\"] =~ \"^/up\" {\n proxy.server = (\"\" => ((\"host\" => \"{outside}\", \"port\" => {port})))\n}\n",
            ),
            (
                "x.sh",
                "printf 'Content-Type: text/plain\\r\\n\\r\\n'\nid\ncat | tr a-z A-Z\nsleep 0.3\nuname -a\nls / | sort\n",
            ),
            (
                "slow.py",
                "import http.server,time\n\
                 class S(http.server.BaseHTTPRequestHandler):\n\
                 \x20def do_GET(s):\n\
                 \x20 time.sleep(2); s.send_response(200); s.end_headers(); s.wfile.write(b'slow')\n\
                 http.server.ThreadingHTTPServer(('{outside}',{port}),S).serve_forever()\n",
            ),
        ],
        outside: "exec /usr/bin/python3 {dir}/slow.py",
        victim: "exec lighttpd -D -f {dir}/lighttpd",
        play: "curl -s http://{victim}:{port}/up & sleep 0.3; curl -s -d harmless http://{victim}:{port}/x.sh; \
               curl -s http://{victim}:{port}/x.sh; wait",
        answer: "HARMLESS",
        ..SERVICE
    },
    Case {
        name: "socat, relay of a service",
        needs: &["socat", "curl", "/usr/bin/python3"],
        files: &[("file", "harmless\n")],
        outside: "exec /usr/bin/python3 -m http.server -b {outside} -d {dir} {port}",
        victim: "exec socat TCP4-LISTEN:{port},bind={victim},fork,reuseaddr TCP4:{outside}:{port},retry=20,interval=0.1",
        play: "for i in 1 2 3; do curl -s http://{victim}:{port}/file; done",
        answer: "harmless",
        ..SERVICE
    },
    Case {
        name: "socat with a packaged filter",
        needs: &["socat", "nc.openbsd"],
        victim: "exec socat TCP4-LISTEN:{port},bind={victim},fork,reuseaddr EXEC:'/usr/bin/tr a-z A-Z'",
        play: "echo harmless | nc.openbsd -N {victim} {port}",
        answer: "HARMLESS",
        ..SERVICE
    },
    Case {
        name: "configuration by many ssh commands",
        needs: &["sshd", "ssh", "tar"],
        files: &[("sshd", SSHD)],
        prepare: KEYS,
        victim: "exec /usr/sbin/sshd -D -e -f {dir}/sshd",
        play: "for i in 1 2 3 4; do \
               ssh {ssh} -p {port} root@{victim} '/bin/sh -c \"echo ~ && id && uname -s && sleep 0.05\"' >/dev/null; done; \
               mkdir {dir}/there; tar -C {dir} -c sshd | ssh {ssh} -p {port} root@{victim} 'tar -C {dir}/there -x && sh -c \"cat {dir}/there/sshd\"'",
        answer: "StrictModes",
        ..SERVICE
    },
];
