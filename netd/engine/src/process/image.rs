//! What kind of program a process runs, and whether it takes its commands from its input.

use super::Process;

const SHELLS: [&str; 17] = [
    "sh", "bash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh", "lksh", "pdksh", "fish", "csh", "tcsh", "bsd-csh",
    "rbash", "pwsh", "yash",
];
/// By name without a version.
const INTERPRETERS: [&str; 19] = [
    "python",
    "pypy",
    "perl",
    "ruby",
    "php",
    "lua",
    "luajit",
    "node",
    "nodejs",
    "tclsh",
    "wish",
    "expect",
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "original-awk",
    "deno",
    "bun",
];
/// Directories anybody may write to.
const TEMPORARY: [&str; 5] = ["/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/", "/run/lock/"];
/// Directories that only root writes to.
const SYSTEM: [&str; 9] =
    ["/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/opt/", "/snap/", "/nix/store/", "/gnu/store/"];

/// A kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Image {
    Shell,
    Interpreter,
    Other,
}

impl Image {
    /// Tells by the executable; by the process's own name only where that is not known.
    #[must_use]
    pub fn of(process: &Process) -> Self {
        Self::named(&process.program())
    }

    /// Tells by the executable of one of its parents.
    pub(crate) fn named(program: &str) -> Self {
        if SHELLS.contains(&program) {
            Self::Shell
        } else if INTERPRETERS.contains(&without_version(program)) {
            Self::Interpreter
        } else {
            Self::Other
        }
    }
}

impl Process {
    /// Returns the file name of the executable; of a multi-call binary the name it was called by.
    pub(crate) fn program(&self) -> String {
        let Some(exe) = &self.exe else { return self.comm.clone() };
        let name = file_name(without_mark(exe));
        if !matches!(name, "busybox" | "toybox") {
            return name.to_owned();
        }
        let mut names = self.args.iter().map(|argument| file_name(argument).trim_start_matches('-'));
        names.find(|called| !matches!(*called, "busybox" | "toybox")).unwrap_or("sh").to_owned()
    }

    /// Returns whether it runs from memory or from a directory that anybody may write to.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.exe.as_deref().is_some_and(|exe| exe.starts_with("/memfd:") || is_temporary(exe))
    }

    /// Returns whether a shell or interpreter takes its commands from its input, or from the command line, and not from
    /// a file: for a shell only from its input.
    pub(crate) fn is_bare(&self) -> bool {
        let is_shell = Image::of(self) == Image::Shell;
        match self.script() {
            Script::None => true,
            Script::Line => !is_shell,
            Script::File(_) => false,
        }
    }

    /// Returns where a shell or interpreter has its commands from.
    pub(crate) fn script(&self) -> Script<'_> {
        let mut arguments = self.args.iter().map(String::as_str).skip(1).peekable();
        if self.args.first().is_some_and(|first| matches!(file_name(first), "busybox" | "toybox")) {
            arguments.next();
        }
        let is_shell = Image::of(self) == Image::Shell;
        while let Some(argument) = arguments.next() {
            let Some(flags) = argument.strip_prefix(['-', '+']).filter(|flags| !flags.is_empty()) else {
                return if argument == "-" { Script::None } else { Script::File(argument) };
            };
            if flags.starts_with('-') {
                match flags {
                    "-rcfile" | "-init-file" => drop(arguments.next()),
                    "-eval" | "-print" | "-command" => return Script::Line,
                    _ => {}
                }
                continue;
            }
            match flags {
                "Command" | "e" | "r" | "p" | "E" if !is_shell => return Script::Line,
                "o" | "O" if is_shell => drop(arguments.next()),
                "m" if !is_shell => return arguments.next().map_or(Script::None, Script::File),
                "W" | "X" if !is_shell => drop(arguments.next()),
                _ if flags.contains('c') && (is_shell || flags.ends_with('c')) => return Script::Line,
                _ if is_shell && flags.contains('s') => return Script::None,
                _ => {}
            }
        }
        Script::None
    }
}

/// Where a shell or an interpreter has its commands from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script<'a> {
    /// From its input.
    None,
    /// From the command line.
    Line,
    File(&'a str),
}

/// Returns the name of the program that a path leads to.
pub(crate) fn program_of(exe: &str) -> &str {
    file_name(without_mark(exe))
}

pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns a path without what the kernel adds to that of a deleted file.
pub(crate) fn without_mark(exe: &str) -> &str {
    exe.strip_suffix(" (deleted)").unwrap_or(exe)
}

pub(crate) fn without_version(name: &str) -> &str {
    let short = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    if short.is_empty() { name } else { short }
}

pub(crate) fn is_temporary(path: &str) -> bool {
    TEMPORARY.iter().any(|directory| path.starts_with(directory)) || matches!(path, "/tmp" | "/var/tmp" | "/dev/shm")
}

/// Returns whether only root can have put a file there.
pub(crate) fn is_system(path: &str) -> bool {
    SYSTEM.iter().any(|directory| path.starts_with(directory)) && !path.contains("/../")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(exe: &str, line: &str) -> Process {
        let args = line.split(' ').filter(|argument| !argument.is_empty()).map(str::to_owned).collect();
        Process { exe: Some(exe.to_owned()), args, ..Process::default() }
    }

    #[test]
    fn the_executable_says_what_runs_and_not_the_name_it_gives_itself() {
        let posing = Process { comm: "kworker/0:1".to_owned(), ..process("/usr/bin/bash", "[kworker/0:1]") };

        assert_eq!(Image::of(&posing), Image::Shell);
        assert_eq!(Image::of(&process("/usr/bin/python3.11", "python3")), Image::Interpreter);
        assert_eq!(Image::of(&process("/usr/bin/lua5.4", "lua")), Image::Interpreter);
        assert_eq!(Image::of(&process("/usr/sbin/php-fpm8.2", "php-fpm")), Image::Other);
        assert_eq!(Image::of(&process("/bin/busybox", "busybox sh -i")), Image::Shell);
        assert_eq!(Image::of(&process("/bin/busybox", "/bin/ash")), Image::Shell);
        assert_eq!(Image::of(&process("/bin/busybox", "busybox nc 10.0.0.1 1")), Image::Other);
        assert_eq!(Image::of(&process("/usr/bin/bash (deleted)", "bash")), Image::Shell);
    }

    #[test]
    fn a_shell_without_a_file_or_a_command_reads_its_input() {
        for line in ["sh", "bash -i", "-bash", "bash --norc --rcfile /x -i", "sh -s -- a b", "bash -o posix", "sh -"] {
            assert!(process("/bin/bash", line).is_bare(), "{line}");
        }
        for line in ["sh -c id", "bash -lc id", "sh /etc/x.sh", "bash -e -o pipefail build.sh"] {
            assert!(!process("/bin/bash", line).is_bare(), "{line}");
        }
    }

    #[test]
    fn an_interpreter_with_a_file_or_a_module_is_like_any_program() {
        for line in ["python3", "python3 -c import", "perl -e 1", "ruby -rsocket -e 1", "php -r 1", "node -e 1"] {
            let exe = format!("/usr/bin/{}", line.split(' ').next().unwrap());
            assert!(process(&exe, line).is_bare(), "{line}");
        }
        for line in ["python3 /usr/bin/backup --all", "python3 -m http.server", "perl /x.pl -e"] {
            let exe = format!("/usr/bin/{}", line.split(' ').next().unwrap());
            assert!(!process(&exe, line).is_bare(), "{line}");
        }
    }

    #[test]
    fn root_alone_writes_below_system_directories() {
        assert!(is_system("/usr/sbin/sshd") && is_system("/snap/x/1/bin/y"));
        assert!(!is_system("/tmp/sshd") && !is_system("/home/a/usr/sshd") && !is_system("/usr/../tmp/sshd"));
    }
}
