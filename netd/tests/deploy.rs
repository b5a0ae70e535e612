//! Facts about what is deployed beside the binary.

use std::path::Path;
use std::process::Command;

use netd_lab::left_out;

/// What `systemd-analyze security` may say at most; 0 is nothing exposed, 10 everything.
const MOST: f64 = 3.0;

#[test]
fn the_unit_leaves_little_exposed() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/netd.service");
    let analyse = Command::new("systemd-analyze").args(["security", "--offline=true"]).arg(unit).output();
    let Ok(output) = analyse else { return left_out!("no systemd-analyze here") };
    let said = String::from_utf8(output.stdout).unwrap();

    let exposure = said.lines().rev().find_map(|line| {
        line.split("exposure level for netd.service: ").nth(1)?.split(' ').next()?.parse::<f64>().ok()
    });

    let exposure = exposure.unwrap_or_else(|| panic!("no exposure in {said}"));
    assert!(exposure <= MOST, "exposure {exposure}");
}
