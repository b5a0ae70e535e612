//! Programs that hold others' streams for a living, from a file that operators can read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::Deserialize;

use super::image::{file_name, is_system, without_mark, without_version};
use super::{Ancestor, Process, Provenance};

/// The file that netd ships.
pub(super) const SHIPPED: &str = include_str!("../../programs.toml");

/// What a program is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Login,
    Terminal,
    Container,
    Supervisor,
    Inetd,
    Web,
    Database,
    Mail,
    File,
    Agent,
    Vpn,
    Package,
    Bus,
}

impl Class {
    /// Returns whether a shell below it that leads outward is a break-in.
    pub(crate) const fn is_service(self) -> bool {
        match self {
            Self::Web | Self::Database | Self::Mail => true,
            Self::Login
            | Self::Terminal
            | Self::Container
            | Self::Supervisor
            | Self::Inetd
            | Self::File
            | Self::Agent
            | Self::Vpn
            | Self::Package
            | Self::Bus => false,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "login server",
            Self::Terminal => "terminal",
            Self::Container => "container runtime",
            Self::Supervisor => "supervisor",
            Self::Inetd => "inetd",
            Self::Web => "web server",
            Self::Database => "database",
            Self::Mail => "mail server",
            Self::File => "file server",
            Self::Agent => "management agent",
            Self::Vpn => "network manager",
            Self::Package => "package manager",
            Self::Bus => "bus",
        })
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "dated")]
    _dated: String,
    classes: BTreeMap<Class, Vec<String>>,
    lists: Lists,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    service_users: HashSet<String>,
    service_names: HashSet<String>,
    relays: HashSet<String>,
    recon: HashSet<String>,
    recon_files: Vec<String>,
}

/// The file, indexed by name.
#[derive(Clone, Debug)]
pub struct Programs {
    classes: HashMap<String, Class>,
    lists: Lists,
}

impl Programs {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// Line and field of what cannot be read, or a name that stands twice.
    pub fn read(text: &str) -> Result<Self, String> {
        let File { classes: listed, lists, _dated } = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut classes = HashMap::new();
        for (class, names) in listed {
            for name in names {
                if let Some(other) = classes.insert(name.clone(), class) {
                    return Err(format!("'{name}' is a {class} and a {other}"));
                }
            }
        }
        Ok(Self { classes, lists })
    }

    /// Returns the class that a process's name claims, believed or not.
    fn claimed(&self, name: &str) -> Option<Class> {
        self.classes.get(name).or_else(|| self.classes.get(without_version(name))).copied()
    }

    /// Returns the class of a process whose executable is what its name says.
    #[must_use]
    pub fn class(&self, process: &Process, provenance: Option<Provenance>) -> Option<Class> {
        let exe = without_mark(process.exe.as_deref()?);
        let provenance = provenance.unwrap_or_default();
        let is_odd = provenance.is_memory || provenance.is_temporary || provenance.is_packaged == Some(false);
        let is_owned = process.package.is_some() || provenance.is_packaged == Some(true) || is_system(exe);
        self.claimed(&process.program()).filter(|_| is_owned && !is_odd)
    }

    /// Returns the class of a process above another.
    pub(crate) fn class_of(&self, parent: &Ancestor) -> Option<Class> {
        let exe = without_mark(parent.exe.as_deref()?);
        self.claimed(file_name(exe)).filter(|_| is_system(exe))
    }

    /// Returns the class that a process poses as: by its own name, with an executable that nobody installed.
    pub(crate) fn posed(&self, process: &Process) -> Option<Class> {
        let exe = without_mark(process.exe.as_deref()?);
        let claimed = self.claimed(&process.comm).or_else(|| self.claimed(file_name(exe)));
        claimed.filter(|_| !is_system(exe) && process.package.is_none())
    }

    /// Returns the service that a process belongs to, by its user or by what runs above it.
    pub(crate) fn service(&self, process: &Process) -> Option<String> {
        if let Some(user) = process.user.as_deref().filter(|user| self.lists.service_users.contains(*user)) {
            return Some(format!("it runs as {user}"));
        }
        process.parents.iter().find_map(|parent| {
            let is_named = self.lists.service_names.contains(&parent.comm);
            let class = self.class_of(parent).filter(|class| class.is_service());
            match class {
                Some(class) => Some(format!("below {}[{}], a {class}", parent.comm, parent.id.pid)),
                None if is_named => Some(format!("below {}[{}]", parent.comm, parent.id.pid)),
                None => None,
            }
        })
    }

    pub(crate) fn is_relay(&self, process: &Process) -> bool {
        let name = process.program();
        self.lists.relays.contains(&name) || self.lists.relays.contains(without_version(&name))
    }

    /// Returns whether a command asks what one asks first on a host that one does not know.
    pub(crate) fn is_recon(&self, process: &Process) -> bool {
        let name = process.program();
        let is_file = |argument: &String| self.lists.recon_files.contains(argument);
        if self.lists.recon.contains(&name) || process.args.iter().any(is_file) {
            return true;
        }
        // The line of `sh -c`.
        let line = process.args.iter().skip_while(|argument| !argument.starts_with('-')).nth(1);
        line.is_some_and(|line| {
            let mut words = line.split(|c: char| c.is_ascii_whitespace() || ";|&".contains(c));
            words.any(|word| self.lists.recon_files.iter().any(|file| file == word))
                || line
                    .split(';')
                    .filter_map(|part| part.split_ascii_whitespace().next())
                    .any(|first| self.lists.recon.contains(file_name(first)))
        })
    }
}

impl Default for Programs {
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    fn default() -> Self {
        Self::read(SHIPPED).expect("programs.toml is complete")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(exe: &str, comm: &str) -> Process {
        Process { exe: Some(exe.to_owned()), comm: comm.to_owned(), ..Process::default() }
    }

    #[test]
    fn the_shipped_file_is_read() {
        assert!(Programs::read(SHIPPED).is_ok());
        assert!(Programs::read(&SHIPPED.replace("\"mosh-server\"", "\"xterm\"")).unwrap_err().contains("xterm"));
    }

    #[test]
    fn a_name_is_believed_where_root_put_it_and_nowhere_else() {
        let programs = Programs::default();
        let unpackaged = Provenance { is_packaged: Some(false), ..Provenance::default() };

        assert_eq!(programs.class(&process("/usr/sbin/sshd", "sshd"), None), Some(Class::Login));
        assert_eq!(programs.class(&process("/usr/sbin/php-fpm8.2", "x"), None), Some(Class::Web));
        assert_eq!(programs.class(&process("/usr/sbin/sshd", "sshd"), Some(unpackaged)), None);
        assert_eq!(programs.class(&process("/tmp/sshd", "sshd"), None), None);
        assert_eq!(programs.class(&process("/usr/bin/nc", "sshd"), None), None);
        assert_eq!(programs.posed(&process("/tmp/sshd", "sshd")), Some(Class::Login));
    }

    #[test]
    fn first_questions_are_told_by_program_file_and_line() {
        let programs = Programs::default();
        let with = |exe: &str, args: &[&str]| Process {
            args: args.iter().map(|argument| (*argument).to_owned()).collect(),
            ..process(exe, "")
        };

        assert!(programs.is_recon(&with("/usr/bin/id", &["id"])));
        assert!(programs.is_recon(&with("/usr/bin/cat", &["cat", "/etc/passwd"])));
        assert!(programs.is_recon(&with("/bin/sh", &["sh", "-c", "cd /tmp; /usr/bin/whoami"])));
        assert!(!programs.is_recon(&with("/bin/sh", &["sh", "-c", "convert a.png b.jpg"])));
    }
}
