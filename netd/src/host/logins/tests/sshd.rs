//! The real sshd, where there is one whose PAM begins sessions of the audit.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Instant;

use netd_lab::left_out;
use netd_lab::process::Process;

use super::*;

const PROGRAM: &str = "/usr/sbin/sshd";
const PORT: u16 = 2_222;

/// An sshd in a laboratory with a key of its own. Only the audit can tell of who is logged in: /run is empty.
struct Sshd {
    lab: Lab,
    folder: TempDir,
    _process: Process,
}

impl Sshd {
    fn start() -> Self {
        let (lab, folder) = (Lab::host().expect("a laboratory"), tempfile::tempdir().expect("a folder"));
        let at = |name: &str| folder.path().join(name);
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key));
            assert!(keygen.status().expect("ssh-keygen runs").success());
        }
        fs::write(at("config"), "").expect("an empty configuration");
        for line in ["mount -t tmpfs none /run", "mkdir /run/sshd"] {
            let mut words = line.split(' ');
            let mut command = Command::new(words.next().unwrap_or_default());
            let command = lab.watched().command(command.args(words)).expect("a command in the laboratory");
            assert!(command.status().expect("it runs").success(), "{line}");
        }
        let mut sshd = Command::new(PROGRAM);
        sshd.arg("-D").arg("-f").arg(at("config")).arg("-h").arg(at("host"));
        let authorized = format!("AuthorizedKeysFile={}", at("user.pub").display());
        let port = format!("Port={PORT}");
        for option in
            [authorized.as_str(), &port, "PidFile=none", "UsePAM=yes", "PermitRootLogin=yes", "StrictModes=no"]
        {
            sshd.args(["-o", option]);
        }
        sshd.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::start(lab.watched(), &mut sshd).expect("sshd starts");
        Self { lab, folder, _process: process }
    }

    /// Opens a tunnel: a session without a terminal and without a command.
    fn log_in(&self, from: Ipv4Addr) -> Process {
        let mut ssh = Command::new("ssh");
        ssh.arg("-N").arg("-i").arg(self.folder.path().join("user")).args(["-b", &from.to_string()]);
        ssh.args(["-p", &PORT.to_string(), "-F", "none", "-o", "BatchMode=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.arg(format!("root@{IMPLANT}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Process::start(self.lab.wan(), &mut ssh).expect("ssh starts")
    }

    fn peers(&self) -> BTreeSet<IpAddr> {
        self.lab.watched().run(|| Ok(Logins::default().peers(&Ports::Sshd)?)).expect("the peers")
    }

    fn until(&self, what: &str, holds: impl Fn(&BTreeSet<IpAddr>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.peers()) {
            assert!(Instant::now() < deadline, "never happened: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn whoever_sshd_has_let_in_is_found_without_logind_and_utmp_until_he_leaves() {
    require_root!();
    let begins_sessions = fs::read_to_string("/etc/pam.d/sshd").is_ok_and(|text| text.contains("pam_loginuid"));
    if !Path::new(PROGRAM).exists() || !begins_sessions || !Path::new("/proc/self/sessionid").exists() {
        return left_out!("no sshd here whose PAM begins sessions of the audit");
    }
    let sshd = Sshd::start();
    let ports = || sshd.lab.watched().run(|| Ok(Logins::default().sshd_ports()?)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while ports() != BTreeSet::from([PORT]) {
        assert!(Instant::now() < deadline, "sshd never listened");
        std::thread::sleep(Duration::from_millis(50));
    }
    let to = (IMPLANT, PORT).into();
    let stranger = sshd.lab.wan().run(|| Ok(connect_tcp(WEB[1].into(), to, PATIENCE)?)).unwrap();

    let session = sshd.log_in(WEB[0]);
    sshd.until("the session is found", |peers| peers.contains(&WEB[0].into()));
    assert_eq!(sshd.peers(), BTreeSet::from([WEB[0].into()]), "only connected: {:?}", stranger.local_addr());

    session.kill().unwrap();
    sshd.until("the end of the session", BTreeSet::is_empty);
}
