//! Terminals, jobs and pipes without any network.

use super::{Case, LOCAL};

pub(super) const ALL: &[Case] = &[
    Case {
        name: "expect",
        needs: &["expect"],
        play: "expect -c 'spawn bash --norc -i; send \"id\\r\"; expect uid=; send \"echo harm\\$((0))less\\r\"; expect harm0less; \
               send \"exit\\r\"; expect eof'",
        answer: "harm0less",
        ..LOCAL
    },
    Case {
        name: "tmux",
        needs: &["tmux"],
        play: "tmux -S {dir}/s -f /dev/null new-session -d /bin/sh; tmux -S {dir}/s send-keys 'id > {dir}/o; uname -a >> {dir}/o; echo harmless >> {dir}/o' Enter; \
               sleep 0.7; cat {dir}/o; tmux -S {dir}/s kill-server",
        answer: "harmless",
        ..LOCAL
    },
    Case {
        name: "screen",
        needs: &["screen"],
        play: "mkdir -m 700 {dir}/sc; export SCREENDIR={dir}/sc; screen -dmS lab /bin/sh; sleep 0.4; \
               screen -S lab -p 0 -X stuff \"$(printf 'id > {dir}/o; echo harmless >> {dir}/o\\r')\"; sleep 0.7; cat {dir}/o; \
               screen -S lab -X quit",
        answer: "harmless",
        ..LOCAL
    },
    Case {
        name: "script",
        needs: &["script"],
        play: "script -qc 'id; uname -a; ls / | sort; echo harmless' {dir}/typescript </dev/null",
        answer: "harmless",
        ..LOCAL
    },
    // A shell in namespaces of its own, its terminal held by whoever answers at a unix socket: as a container runtime does.
    Case {
        name: "terminal handed over a unix socket",
        needs: &["socat", "unshare"],
        victim: "exec socat UNIX-LISTEN:{dir}/console EXEC:'unshare -mupf --mount-proc /bin/sh -i',pty,setsid,ctty,stderr",
        play: "sleep 0.3; (sleep 0.4; echo id; sleep 0.3; echo 'ps ax | sort'; echo 'echo harm$((0))less'; sleep 0.5; echo exit; sleep 0.3) | \
               socat - UNIX-CONNECT:{dir}/console",
        answer: "harm0less",
        ..LOCAL
    },
    // cron runs what is due at its start, from tables of its own: those of the machine are covered by mounts.
    Case {
        name: "cron job",
        needs: &["cron", "unshare"],
        files: &[("crontab", "@reboot root sh -c 'id | tr a-z A-Z; ls / | sort; echo harmless' > {dir}/o\n")],
        victim: "exec unshare -m sh -c 'mount --bind {dir}/crontab /etc/crontab && mount -t tmpfs none /etc/cron.d && \
                 mount -t tmpfs none /var/spool/cron && mkdir /var/spool/cron/crontabs && mount -t tmpfs none /run && exec cron -f'",
        play: "for i in $(seq 60); do grep -s harmless {dir}/o && break; sleep 0.1; done",
        answer: "harmless",
        ..LOCAL
    },
    Case {
        name: "run-parts",
        needs: &["run-parts"],
        files: &[("job", "#!/bin/sh\nid | sort\nls / | sort | head -3\necho harmless\n")],
        prepare: "mkdir {dir}/parts; chmod +x {dir}/job; mv {dir}/job {dir}/parts/job",
        play: "run-parts {dir}/parts | cat",
        answer: "harmless",
        ..LOCAL
    },
    Case {
        name: "package maintenance",
        needs: &["apt-get", "dpkg-query"],
        play: "apt-get -s -o Debug::NoLocking=1 install --reinstall bash 2>/dev/null | sort | tail -1; \
               dpkg-query -W | awk '{print $1}' | sort | head -3; dpkg -s bash | sh -c 'grep -i version'; echo harmless",
        answer: "harmless",
        ..LOCAL
    },
];
