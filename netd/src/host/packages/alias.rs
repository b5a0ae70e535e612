//! Directories that are two names of one: `/bin` is `/usr/bin` on a merged system, while packages still say either.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Those that distributions have merged, the outer first.
const CANDIDATES: [&str; 8] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32", "usr/sbin"];

/// Prefixes and what they lead to, each with both slashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases(Vec<(Vec<u8>, Vec<u8>)>);

impl Aliases {
    /// Reads the links below `root`.
    pub(super) fn read(root: &Path) -> Self {
        let links = CANDIDATES.iter().filter_map(|name| {
            let target = fs::read_link(root.join(name)).ok()?;
            let from = Path::new("/").join(name);
            let to = normal(&from.parent()?.join(target));
            (to != from).then(|| (slashed(&from), slashed(&to)))
        });
        Self(links.collect())
    }

    /// Calls `then` with the one name of `path` that stands for all.
    pub(super) fn resolved<T>(&self, path: &[u8], then: impl FnOnce(&[u8]) -> T) -> T {
        let mut owned: Option<Vec<u8>> = None;
        // `/sbin` may lead to `/usr/sbin`, and that to `/usr/bin`: the table is in this order.
        for (from, to) in &self.0 {
            let current = owned.as_deref().unwrap_or(path);
            if let Some(rest) = current.strip_prefix(from.as_slice()) {
                owned = Some([to, rest].concat());
            }
        }
        then(owned.as_deref().unwrap_or(path))
    }
}

fn slashed(path: &Path) -> Vec<u8> {
    let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
    bytes.push(b'/');
    bytes
}

/// Removes `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}
