//! Names of users, from passwd(5) alone: a directory service is not asked, so a user of one stays a number.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
};

/// Longest file read; ten thousand users take a megabyte.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The host's users. Those of a container may share numbers with them and nothing else.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    /// The file's modification time and inode when it was read.
    stamp: Option<(i64, i64, u64)>,
    names: HashMap<u32, Arc<str>>,
}

impl Users {
    /// Reads `path`, usually `/etc/passwd`.
    #[must_use]
    pub fn read(path: PathBuf) -> Self {
        let mut users = Self { path, stamp: None, names: HashMap::new() };
        users.refresh();
        users
    }

    /// Reads the file again if it changed.
    pub fn refresh(&mut self) {
        let stamp = fs::metadata(&self.path).ok().map(|file| (file.mtime(), file.mtime_nsec(), file.ino()));
        if stamp == self.stamp {
            return;
        }
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
        if read.is_ok() {
            self.names = parse(&String::from_utf8_lossy(&bytes));
            self.stamp = stamp;
        }
    }

    #[must_use]
    pub fn name(&self, uid: u32) -> Option<Arc<str>> {
        self.names.get(&uid).cloned()
    }
}

/// Reads `name:password:uid:...`; of several names of a number the first counts, as in getpwuid(3).
fn parse(content: &str) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::new();
    for line in content.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else { continue };
        let is_name = !name.is_empty() && name.len() <= 256 && !name.starts_with(['+', '-', '#']);
        if let Ok(uid) = uid.parse()
            && is_name
        {
            names.entry(uid).or_insert_with(|| Arc::from(name));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_first_name_that_is_given_to_it() {
        let names = parse("root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:\n#x:x:7:7\n+nis\nbad:x:-1\n\nweb:x:33:33");

        assert_eq!((names[&0].as_ref(), names[&33].as_ref(), names.len()), ("root", "web", 2));
    }

    #[test]
    fn a_file_that_changed_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        fs::write(&path, "a:x:1:1").unwrap();
        let mut users = Users::read(path.clone());
        fs::write(directory.path().join("new"), "b:x:1:1").unwrap();
        fs::rename(directory.path().join("new"), &path).unwrap();

        users.refresh();

        assert_eq!(users.name(1).as_deref(), Some("b"));
    }
}
