//! A reboot: no pin, no link, no program is left, the interface is down, and what was listed is cut from the first packet.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

mod kernel_support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use kernel_support::{HERE, NEIGHBOUR, PORT, Pair, THERE, eventually, options};
use netd::kernel::Kernel;
use netd::store::disk::StateDir;
use netd::verdicts::{Now, Service, Settings};
use netd_common::control::Mode;
use netd_engine::verdict::{Origin, Response, Target, Verdict};
use netd_lab::require_root;

/// Writes what a daemon would have left on disk: a verdict on `THERE`.
fn saved(folder: &Path) {
    let (kernel, _) = Kernel::load(&options("netd")).unwrap();
    let disk = StateDir::open(&folder.join("state")).unwrap();
    let settings = Settings { mode: Mode::Enforce, ..Settings::default() };
    let mut service = Service::start(kernel.verdict_maps().unwrap(), Some(disk), settings, Now::read()).unwrap();
    let verdict = Verdict {
        target: Target::Host { address: THERE.into() },
        response: Response::Drop,
        until: None,
        origin: Origin::Manual,
        reason: "test".into(),
        shadow: false,
    };
    service.add(verdict, true, Now::read()).unwrap();
    kernel.unload().unwrap();
}

fn boot(folder: &Path, mode: &str) -> Output {
    let config = folder.join("netd.toml");
    let state = folder.join("state");
    let text = format!(
        "mode = \"enforce\"\nboot = {mode:?}\nstate_dir = {state:?}\ncgroup = false\n[limits]\nflows_per_cpu = 1024\n\
         listed_hosts = 32768\nlisted_prefixes = 1024\n"
    );
    fs::write(&config, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_netd")).arg("boot").arg("--config").arg(config).output().unwrap()
}

#[test]
fn what_was_listed_is_cut_from_the_first_packet_of_an_interface_that_comes_up() {
    require_root!();
    let pair = Pair::new();
    let folder = tempfile::tempdir().unwrap();
    let (blocked, open) = (pair.sink(THERE), pair.sink(NEIGHBOUR));
    pair.here
        .run(|| {
            saved(folder.path());
            let socket = std::net::UdpSocket::bind((HERE, PORT)).unwrap();
            socket.set_nonblocking(true).unwrap();
            pair.here.ip(&["link set veth0 down".to_owned()]).unwrap();

            let output = boot(folder.path(), "closed");

            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(told, "in force on veth0: 1 verdicts, 0 lists\n", "{said}");
            let mut from = std::collections::BTreeMap::new();
            pair.here.ip(&["link set veth0 up".to_owned()]).unwrap();
            eventually("a neighbour comes through", || {
                blocked.send_to(HERE);
                open.send_to(HERE);
                let mut buffer = [0; 64];
                while let Ok((_, sender)) = socket.recv_from(&mut buffer) {
                    *from.entry(sender.ip()).or_insert(0) += 1;
                }
                from.get(&NEIGHBOUR.into()).is_some_and(|count| *count >= 50)
            });
            assert_eq!(from.get(&THERE.into()), None, "{from:?}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn state_that_cannot_be_read_keeps_a_closed_host_down_and_an_open_one_not() {
    require_root!();
    let pair = Pair::new();
    for (mode, succeeds) in [("open", true), ("closed", false)] {
        let folder = tempfile::tempdir().unwrap();
        pair.here
            .run(|| {
                saved(folder.path());
                let file = folder.path().join("state/verdicts.state");
                assert!(file.exists());
                fs::write(file, "netd-state 1").unwrap();

                let output = boot(folder.path(), mode);

                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.success(), succeeds, "{said}");
                assert!(said.contains("1 files of the state directory cannot be read"), "{said}");
                assert_eq!(said.contains("netd.boot=off"), !succeeds, "{said}");
                netd::kernel::unload(Path::new(netd::kernel::DEFAULT_BPFFS)).unwrap();
                Ok(())
            })
            .unwrap();
    }
}
