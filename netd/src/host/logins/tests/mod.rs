//! Who counts as logged in, over files of a made-up host and over a real sshd.

mod sshd;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use netd_lab::lab::{IMPLANT, Lab, WEB};
use netd_lab::require_root;
use netd_lab::traffic::socket::connect_tcp;
use tempfile::TempDir;

use super::*;

/// A host's files, made up.
struct Files {
    folder: TempDir,
    logins: Logins,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let logins = Logins { proc: at("proc"), sessions: at("sessions"), utmp: at("utmp") };
        for directory in [&logins.proc, &logins.sessions] {
            fs::create_dir(directory).unwrap();
        }
        Self { folder, logins }
    }

    /// Makes a process that holds a socket.
    fn process(&self, pid: u32, parent: u32, name: &str, uid: u32, session: &str, socket: u32) {
        let directory = self.folder.path().join("proc").join(pid.to_string());
        fs::create_dir_all(directory.join("fd")).unwrap();
        fs::write(directory.join("comm"), format!("{name}\n")).unwrap();
        fs::write(directory.join("sessionid"), session).unwrap();
        let status = format!("Name:\t{name}\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        fs::write(directory.join("status"), status).unwrap();
        std::os::unix::fs::symlink(format!("socket:[{socket}]"), directory.join("fd/4")).unwrap();
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
const UNSET: &str = "4294967295";

#[test]
fn whoever_has_not_authenticated_holds_no_session_of_the_audit() {
    let files = Files::new();
    files.process(1, 0, "systemd", 0, UNSET, 1);
    files.process(10, 1, "sshd", 0, UNSET, 100);
    files.process(11, 10, "sshd-session", 0, UNSET, 101);
    files.process(12, 10, "sshd", 0, "7", 102);
    // Of a listener that was started in somebody's session: its children have that one until they let somebody in.
    files.process(20, 1, "bash", 0, "3", 1);
    files.process(21, 20, "sshd", 0, "3", 200);
    files.process(22, 21, "sshd", 0, "3", 201);
    files.process(23, 21, "sshd", 0, "9", 202);
    // Anybody may call himself sshd and begin a session where he has none.
    files.process(30, 1, "sshd", 33, "11", 300);
    files.process(31, 1, "backdoor", 0, "12", 301);
    // Whose parent is gone cannot be told.
    files.process(40, 4_000, "sshd", 0, "13", 400);

    assert_eq!(audit::authenticated(&files.logins.proc), BTreeSet::from([102, 202]));
    assert_eq!(audit::unauthenticated(&files.logins.proc), BTreeSet::from([100, 101, 200, 201, 400]));
}

#[test]
fn a_connection_alone_makes_nobody_a_manager_and_a_login_without_one_neither() {
    require_root!();
    let (lab, files) = (Lab::host().unwrap(), Files::new());
    let listener = lab.watched().run(|| Ok(TcpListener::bind((IMPLANT, 22))?)).unwrap();
    let connect = |from: Ipv4Addr| {
        let connected = lab.wan().run(|| Ok(connect_tcp(from.into(), (IMPLANT, 22).into(), PATIENCE)?)).unwrap();
        (connected, listener.accept().unwrap().0)
    };
    let held: Vec<(TcpStream, TcpStream)> = WEB[..4].iter().map(|address| connect(*address)).collect();
    let peers = || {
        let ports = Ports::These(BTreeSet::from([22]));
        lab.watched().run(|| Ok(files.logins.peers(&ports)?)).unwrap()
    };
    assert_eq!(peers(), BTreeSet::new());

    // One is known to logind, one to utmp, one to the audit; the fourth has only connected.
    fs::write(files.logins.sessions.join("5"), format!("STATE=active\nREMOTE=1\nREMOTE_HOST={}\n", WEB[0])).unwrap();
    fs::write(files.logins.sessions.join("6"), format!("STATE=active\nREMOTE=1\nREMOTE_HOST={}\n", WEB[5])).unwrap();
    files.process(1, 0, "systemd", 0, UNSET, 1);
    fs::write(&files.logins.utmp, utmp::tests::record(1, &WEB[1].to_string())).unwrap();
    let inode = inode_of(&held[2].1);
    files.process(9, 1, "sshd", 0, "7", inode);

    assert_eq!(peers(), WEB[..3].iter().copied().map(IpAddr::from).collect());
}

fn inode_of(stream: &TcpStream) -> u32 {
    use std::os::fd::AsRawFd as _;
    let link = fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
    crate::host::process::files::numbered(&link.to_string_lossy()).unwrap().1 as u32
}
