//! The red team's short form: one reverse shell of each class over IPv4, and the attribution campaign made small.

use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Result, bail};
use netd_lab::require_root;
use serde_json::Value;

/// One laboratory at a time: netd sees the processes of the whole machine, and all of them have the same addresses.
static ALONE: Mutex<()> = Mutex::new(());

/// One run of the short matrix, which the tests below look at.
static MATRIX: LazyLock<Value> = LazyLock::new(|| redteam(&["matrix", "--short"]).expect("the matrix can be played"));

#[test]
fn every_variant_is_a_shell_where_its_tools_are() {
    require_root!();

    for row in rows(&MATRIX) {
        if let Some(why) = row["left_out"].as_str() {
            netd_lab::left_out!(&format!("{}: {why}", row["variant"]));
        }
        assert!(row["broken"].is_null(), "{row:#}");
    }
}

#[test]
fn every_class_of_shell_is_found_in_time_and_cut() {
    require_root!();

    assert_eq!(MATRIX["missed"], serde_json::json!([]), "{:#}", *MATRIX);
}

#[test]
fn a_direct_shell_is_what_published_rules_see() {
    require_root!();
    let rows = rows(&MATRIX);
    let direct = rows.iter().find(|row| row["class"] == "direct").unwrap();
    if direct["falco"].is_null() {
        netd_lab::left_out!("strace is not installed");
        return;
    }

    assert!(direct["falco"].as_array().unwrap().contains(&"redirect".into()), "{direct:#}");
    assert!(direct["tracee"].as_array().unwrap().contains(&"stdio".into()), "{direct:#}");
}

#[test]
fn every_short_connection_names_its_process() {
    require_root!();

    let report = redteam(&["attribution", "--short"]).unwrap();

    assert_eq!(report["missed"], serde_json::json!([]), "{report:#}");
}

fn rows(matrix: &Value) -> Vec<Value> {
    matrix["rows"].as_array().cloned().unwrap_or_default()
}

fn redteam(words: &[&str]) -> Result<Value> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(env!("CARGO_BIN_EXE_redteam"));
    command.args(words).args(["--json", "--allow-missing"]).env("NETD_BIN", netd_lab::binary::netd()?);
    let output = command.output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
