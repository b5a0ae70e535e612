//! Whether a process's streams are worth a snapshot of the host: most commands' are not.

use crate::process::{Image, Process};

/// What one of the descriptors 0 to 2 leads to, as far as a glance tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stream {
    Pipe,
    Fifo,
    Terminal,
    /// A socket of any family.
    Socket,
    /// An IPv4 or IPv6 socket.
    Inet,
    /// A file, a device, nothing.
    #[default]
    Other,
}

impl Stream {
    const fn passes(self) -> bool {
        match self {
            Self::Pipe | Self::Fifo | Self::Terminal | Self::Socket | Self::Inet => true,
            Self::Other => false,
        }
    }
}

/// Returns whether the streams of a process are worth tracing: any socket of the network, and whatever another process
/// may feed to a shell, to an interpreter, or to a program that hides where it came from.
#[must_use]
pub fn is_worth_tracing(process: &Process, streams: [Stream; 3]) -> bool {
    if streams.contains(&Stream::Inet) {
        return true;
    }
    let [input, output, _] = streams;
    let passes = input.passes() || output.passes();
    passes && (Image::of(process) != Image::Other || process.is_hidden())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(exe: &str) -> Process {
        let comm = exe.rsplit('/').next().unwrap_or(exe).to_owned();
        Process { comm, exe: Some(exe.to_owned()), ..Process::default() }
    }

    #[test]
    fn a_command_in_a_pipeline_is_not_worth_a_look_and_a_shell_is() {
        let streams = [Stream::Pipe, Stream::Pipe, Stream::Terminal];

        assert!(!is_worth_tracing(&process("/usr/bin/sort"), streams));
        assert!(is_worth_tracing(&process("/usr/bin/dash"), streams));
        assert!(is_worth_tracing(&process("/usr/bin/python3.11"), streams));
        assert!(!is_worth_tracing(&process("/usr/bin/dash"), [Stream::Other; 3]));
    }

    #[test]
    fn whatever_runs_on_a_socket_of_the_network_is_worth_a_look() {
        assert!(is_worth_tracing(&process("/usr/bin/id"), [Stream::Terminal, Stream::Inet, Stream::Inet]));
        assert!(!is_worth_tracing(&process("/usr/bin/id"), [Stream::Terminal, Stream::Socket, Stream::Socket]));
    }

    #[test]
    fn a_program_from_memory_or_a_temporary_directory_is_looked_at_like_a_shell() {
        let streams = [Stream::Pipe, Stream::Pipe, Stream::Other];

        assert!(is_worth_tracing(&process("/memfd:x (deleted)"), streams));
        assert!(is_worth_tracing(&process("/tmp/.x/kworker"), streams));
    }
}
