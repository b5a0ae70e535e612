//! Facts about what is deployed beside the binary.

use std::path::Path;
use std::process::Command;

use netd_lab::left_out;

/// What `systemd-analyze security` may say at most; 0 is nothing exposed, 10 everything.
const MOST: f64 = 3.0;

#[test]
fn the_units_leave_little_exposed() {
    for name in ["netd.service", "netd-boot.service"] {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
        let analyse = Command::new("systemd-analyze").args(["security", "--offline=true"]).arg(unit).output();
        let Ok(output) = analyse else { return left_out!("no systemd-analyze here") };
        let said = String::from_utf8(output.stdout).unwrap();

        let exposure = said.lines().rev().find_map(|line| {
            let level = line.split(&format!("exposure level for {name}: ")).nth(1)?;
            level.split(' ').next()?.parse::<f64>().ok()
        });

        let exposure = exposure.unwrap_or_else(|| panic!("no exposure in {said}"));
        assert!(exposure <= MOST, "{name}: exposure {exposure}");
    }
}

/// systemd 252 counts none of these to `@system-service`, and without them netd ends before it watches anything.
#[test]
fn the_unit_lets_netd_restrict_itself() {
    let unit = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/netd.service")).unwrap();
    let allowed =
        || unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).flat_map(str::split_whitespace);

    for call in ["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"] {
        assert!(allowed().any(|name| name == call), "{call}");
    }
}
