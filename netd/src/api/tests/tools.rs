//! Programs of others against the API: a bouncer's client, a generated client, a schema fuzzer.
//!
//! They are Python programs, in the virtual environment that `make api-tools` makes in target/, or one that
//! `NETD_API_TOOLS` names; without it these tests are left out, and say so.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;

use netd_engine::finding::Severity;
use netd_engine::flow::EndReason;

use super::*;
use crate::store::findings_for_tests::finding;
use crate::store::flows_for_tests::conversation;

/// Returns a program of the tools, if they are there.
fn tool(name: &str) -> Option<PathBuf> {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/api-tools");
    let tools = std::env::var_os("NETD_API_TOOLS").map_or_else(usual, PathBuf::from);
    let tool = Some(tools.join("bin").join(name)).filter(|tool| tool.exists());
    if tool.is_none() {
        let _ = writeln!(std::io::stderr(), "LEFT OUT: {name} is not there; `make api-tools` installs it");
    }
    tool
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../integration/api").join(name)
}

/// An API on a loopback port, with something of everything.
async fn populated() -> (Api, String) {
    let api = Api::new();
    for id in 1..=3 {
        api.findings.report(finding(id, Severity::High, 0.9));
        api.flows.put(conversation(u16::try_from(id).unwrap(), EndReason::Active));
    }
    api.post("/api/v1/verdicts", r#"{"target":{"address":"198.51.100.9"},"ttl":"4h"}"#).await;
    api.post("/api/v1/verdicts", r#"{"target":{"prefix":"203.0.113.0/24"},"ttl":"4h"}"#).await;
    let (address, _shutdown, _serving) = api.listen().await;
    (api, format!("http://{address}"))
}

/// Runs a program that must succeed, and returns what it printed.
async fn run(program: &Path, arguments: &[&OsStr], directory: &Path) -> String {
    let (program, directory) = (program.to_owned(), directory.to_owned());
    let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    // The server is this process's: its threads must not wait.
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new(program).args(arguments).current_dir(directory).output().unwrap()
    });
    let output = output.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_crowdsec_reads_verdicts_unchanged() {
    let Some(python) = tool("python") else { return };
    let (api, url) = populated().await;
    let directory = tempfile::tempdir().unwrap();
    let keys = [api.key(), api.key()];

    let program = script("bouncer.py");
    let arguments = [program.as_ref(), url.as_ref(), keys[0].as_ref(), keys[1].as_ref()];
    run(&python, &arguments, directory.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_client_lists_findings() {
    let (Some(generator), Some(python)) = (tool("openapi-python-client"), tool("python")) else { return };
    let (_api, url) = populated().await;
    let directory = tempfile::tempdir().unwrap();
    let document = format!("{url}/api/v1/openapi.json");
    let arguments = ["generate", "--url", &document, "--meta", "none", "--output-path", "netd_client"];

    run(&generator, &arguments.map(OsStr::new), directory.path()).await;
    run(&python, &[script("client.py").as_ref(), url.as_ref()], directory.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_the_viewer_without_a_way_out() {
    let browser = PathBuf::from("/usr/bin/chromium");
    if !browser.exists() {
        let _ = writeln!(std::io::stderr(), "LEFT OUT: chromium is not installed");
        return;
    }
    let (_api, url) = populated().await;
    let directory = tempfile::tempdir().unwrap();
    let page = format!("{url}/docs/");
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--user-data-dir=profile",
        "--virtual-time-budget=20000",
        // Nothing but the API is there.
        "--proxy-server=127.0.0.1:9",
        "--proxy-bypass-list=127.0.0.1",
        "--dump-dom",
        &page,
    ];

    let shown = run(&browser, &arguments.map(OsStr::new), directory.path()).await;

    for text in ["operations-findings-list_findings", "operations-decisions-pull_decisions"] {
        assert!(shown.contains(text), "{text} is not in\n{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_fuzzer_finds_no_server_error_and_no_answer_of_another_shape() {
    let Some(fuzzer) = tool("st") else { return };
    let (api, url) = populated().await;
    let directory = tempfile::tempdir().unwrap();
    let document = format!("{url}/api/v1/openapi.json");
    // Without it whatever the fuzzer presents would count, and soon nothing would be looked at.
    let (_, token) = api.tokens.create("fuzzer".into(), vec![Scope::Admin], crate::time::now(), None).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.reveal());
    let examples = std::env::var("NETD_API_EXAMPLES").unwrap_or_else(|_| "10".to_owned());
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let arguments = [
        "run",
        &document,
        "--url",
        &url,
        "--header",
        &bearer,
        "--generation-with-security-parameters",
        "false",
        "--checks",
        checks,
        "--max-examples",
        &examples,
        "--seed",
        "1",
        // Streams have no end.
        "--exclude-path-regex",
        "^/api/v1/.*/stream$|^/docs",
        "--request-timeout",
        "30",
        "--phases",
        "examples,coverage,fuzzing",
    ];

    run(&fuzzer, &arguments.map(OsStr::new), directory.path()).await;
}
