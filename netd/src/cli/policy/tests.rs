use std::path::{Path, PathBuf};

use super::*;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn run(action: Action) -> (u8, String) {
    let mut out = Vec::new();
    let status = super::run(&Args { action }, &mut out).unwrap();
    (status, String::from_utf8(out).unwrap())
}

#[test]
fn every_shipped_policy_is_sound_and_keeps_its_promises() {
    let (status, text) = run(Action::Test { paths: vec![shipped()] });

    assert_eq!(status, 0, "{text}");
    assert!(!text.contains("warning"), "every shipped policy has tests: {text}");
    for name in ["monitor", "default", "strict", "enforce"] {
        assert!(text.contains(&format!("ok      {name} ")), "{text}");
        let (status, text) = run(Action::Check { paths: vec![shipped().join(name).with_extension("yaml")] });
        assert_eq!((status, text.contains("warning")), (0, false), "{text}");
    }
}

#[test]
fn a_broken_promise_and_a_missing_capture_fail() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.yaml");
    let capture = shipped().join("../pcaps/reverse-shell.pcap");
    let text = format!(
        "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {{name: my}}\nspec:\n  tests:\n  - {{capture: {capture:?}, \
         expect: {{findings: {{beacon: 1}}, blocks: 1}}}}\n  - {{capture: none.pcap, expect: {{}}}}\n"
    );
    std::fs::write(&path, text).unwrap();

    let (status, text) = run(Action::Test { paths: vec![path] });

    assert_eq!(status, 1);
    for part in
        ["findings of beacon: 0, expected 1", "findings of reverse_shell: 1, expected 0", "blocks: 0, expected 1"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("none.pcap") && text.ends_with("2 captures, 2 failures\n"), "{text}");
}

#[test]
fn every_fault_is_printed_and_the_status_is_one() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.yaml", "b.yaml"] {
        std::fs::write(folder.path().join(name), "apiVersion: netd/v2\n").unwrap();
    }

    let (status, text) = run(Action::Check { paths: vec![folder.path().to_owned()] });

    assert_eq!(status, 1);
    assert!(text.contains("a.yaml:1:13: error: ") && text.contains("b.yaml:1:13: error: "), "{text}");
}

#[test]
fn the_committed_schema_is_the_types_own() {
    let (_, text) = run(Action::Schema);
    let committed = std::fs::read_to_string(shipped().join("policy.schema.json")).unwrap();

    assert_eq!(text, committed, "write it anew: netd policy schema > policies/policy.schema.json");
}
