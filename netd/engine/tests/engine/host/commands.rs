//! Programs that run commands for the far end, and what a found shell runs.

use netd_engine::config::Config;
use netd_engine::finding::{Finding, Severity};
use netd_engine::process::ProcessId;
use netd_engine::streams::Stream;
use netd_engine::{Command, Engine};

use super::support::{Host, names, stdio};
use crate::support::{World, ns};

const LINES: [&str; 4] = ["sh -c id", "sh -c uname", "sh -c ls", "sh -c hostname"];

/// What is found after each command that `script` runs with pipes.
fn after_each(script: &str) -> Vec<Option<Severity>> {
    let mut host = Host::default();
    host.run(11, "/usr/bin/python3.11", script);
    host.connected(&[(11, 5)]);
    let mut world = World::new(Config::default());
    (20..)
        .zip(LINES)
        .map(|(pid, line)| {
            host.run(pid, "/usr/bin/dash", line);
            host.below(pid, 11);
            host.pipe(&[(pid, 1), (pid, 2)], &[(11, pid)]);
            host.look(&mut world, pid);
            world.findings().last().map(|finding| finding.severity)
        })
        .collect()
}

#[test]
fn one_command_is_not_enough_and_several_are() {
    let found = after_each("python3 -c import");

    assert_eq!(found[0], None);
    assert!(found.contains(&Some(Severity::High)), "{found:?}");
}

#[test]
fn a_program_with_a_script_file_needs_more_than_an_interpreter_without_one() {
    let found = after_each("python3 /home/a/report.py");

    assert_eq!(found[..2], [None, None]);
    assert!(found.iter().flatten().all(|severity| *severity == Severity::Low), "{found:?}");
}

#[test]
fn a_loop_over_a_descriptor_of_bash_is_found_by_what_it_runs() {
    let mut host = Host::default();
    host.run(8, "/usr/bin/bash", "bash -c loop");
    let mut world = World::new(Config::default());
    let mut holders = vec![(8, 5)];
    for (pid, exe) in [(20, "/usr/bin/id"), (21, "/usr/bin/uname"), (22, "/usr/bin/ls")] {
        host.run(pid, exe, exe);
        host.below(pid, 8);
        holders.extend([(pid, 1), (pid, 2)]);
    }
    host.connected(&holders);

    for pid in 20..23 {
        host.look(&mut world, pid);
    }

    let findings = world.findings();
    let last = findings.last().unwrap();
    assert_eq!(last.process.as_ref().unwrap().id.pid, 8);
    assert!(last.severity >= Severity::High, "{:?}", last.reasons);
}

fn updates(engine: &mut Engine) -> Vec<Finding> {
    let commands = std::iter::from_fn(|| engine.poll_command());
    commands.filter_map(|command| if let Command::Update(finding) = command { Some(*finding) } else { None }).collect()
}

#[test]
fn the_first_commands_of_a_found_shell_are_told_up_to_a_bound() {
    let mut host = Host::default();
    host.sh(9);
    host.connected(&stdio(9));
    let mut world = World::new(Config::default());
    host.look(&mut world, 9);
    let id = world.findings()[0].id;

    for pid in 100..140 {
        host.run(pid, "/usr/bin/id", &format!("id {pid}"));
        host.below(pid, 9);
        world.engine.observe_exec(&host.snapshot.processes[&pid], [Stream::Socket; 3], ns(2.0));
    }

    let told = updates(&mut world.engine);
    assert!(told.iter().all(|finding| finding.id == id));
    let commands = &told.last().unwrap().host.as_ref().unwrap().commands;
    assert_eq!((commands.len(), commands[0].as_str()), (16, "id 100"));
}

#[test]
fn the_commands_of_another_shell_are_none_of_a_finding() {
    let mut host = Host::default();
    host.sh(9);
    host.sh(10);
    host.run(20, "/usr/bin/id", "id");
    host.below(20, 10);
    host.connected(&stdio(9));
    let mut world = World::new(Config::default());
    host.look(&mut world, 9);
    world.engine.observe_exec(&host.snapshot.processes[&20], [Stream::Terminal; 3], ns(2.0));

    assert_eq!(updates(&mut world.engine), []);
}

#[test]
fn what_is_gone_has_no_more_commands() {
    let mut host = Host::default();
    host.sh(9);
    host.run(20, "/usr/bin/id", "id");
    host.below(20, 9);
    host.connected(&stdio(9));
    let mut world = World::new(Config::default());
    host.look(&mut world, 9);
    world.engine.process_ended(ProcessId { pid: 9, start_ticks: 9 });
    world.engine.observe_exec(&host.snapshot.processes[&20], [Stream::Socket; 3], ns(2.0));

    assert_eq!(updates(&mut world.engine), []);
}

#[test]
fn a_terminal_below_a_found_shell_is_an_upgrade() {
    let mut host = Host::default();
    host.sh(9);
    host.run(10, "/usr/bin/python3.11", "python3 -c import");
    host.run(20, "/usr/bin/bash", "/bin/bash");
    host.below(10, 9);
    host.below(20, 10);
    host.pty(&[(10, 4)], &stdio(20));
    host.connected(&[stdio(9), stdio(10)].concat());
    let mut world = World::new(Config::default());
    host.look(&mut world, 9);
    // A run that begins now and finds the upgraded one only by its parent.
    let first = world.findings();
    assert!(!names(&first[0]).contains(&"tty_upgrade"));

    assert_eq!(host.graph(20).ends.len(), 2);
    host.look(&mut world, 20);
    assert_eq!(world.findings(), [], "one incident, as critical as before");
}
