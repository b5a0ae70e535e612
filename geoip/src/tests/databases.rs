//! Replacing what is held: only a good file does.

use std::fs;
use std::path::{Path, PathBuf};

use netd_engine::region::Geography as _;

use crate::{Databases, Kind, Paths};

const COUNTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/country.mmdb");
const ASN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/asn.mmdb");

/// A copy of the test database of countries, and what holds it.
struct Held {
    folder: tempfile::TempDir,
    databases: Databases,
}

impl Held {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("country.mmdb");
        fs::copy(COUNTRY, &path).unwrap();
        let databases = Databases::new(Paths { country: Some(path), asn: None });
        assert!(databases.reload().iter().all(|loaded| loaded.result.is_ok()));
        Self { folder, databases }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("country.mmdb")
    }

    /// Puts other bytes in the file's place, as a package manager does.
    fn replace(&self, content: &[u8]) {
        let other = self.folder.path().join("other");
        fs::write(&other, content).unwrap();
        fs::rename(other, self.path()).unwrap();
    }

    fn country(&self) -> Option<String> {
        let region = self.databases.region([198, 51, 100, 7].into());
        region.and_then(|region| region.country).map(|country| country.to_string())
    }
}

/// Another good database: it says that all of IPv4 is in Sweden.
fn sweden() -> Vec<u8> {
    let rows = "0.0.0.0,255.255.255.255,SE\n";
    let options = crate::build::Options::default();
    crate::build::build(rows.as_bytes(), Path::new("se.csv"), &options).unwrap().bytes
}

#[test]
fn a_good_file_replaces_what_is_held() {
    let held = Held::new();
    assert_eq!(held.country().as_deref(), Some("DE"));

    held.replace(&sweden());

    assert!(held.databases.reload_changed().iter().all(|loaded| loaded.result.is_ok()));
    assert_eq!(held.country().as_deref(), Some("SE"));
    assert!(held.databases.reload_changed().is_empty(), "an unchanged file is not read again");
}

#[test]
fn no_bad_file_replaces_a_good_one() {
    let held = Held::new();
    let good = sweden();

    for (bad, why) in [
        (&good[..good.len() / 2], "not a valid MMDB file"),
        (&good[..good.len() - 1], "not a valid MMDB file"),
        (&[], "not a valid MMDB file"),
        (b"not a database", "not a valid MMDB file"),
        (&fs::read(ASN).unwrap(), "holds no countries"),
    ] {
        held.replace(bad);

        let loaded = held.databases.reload_changed();
        let [loaded] = loaded.as_slice() else { panic!("one file was changed: {loaded:?}") };
        let error = loaded.result.as_ref().unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("country.mmdb") && loaded.kept, "{error}");
        assert_eq!(held.country().as_deref(), Some("DE"));
    }
    let states = held.databases.states();
    assert_eq!((states[0].kind, states[0].failures), (Kind::Country, 5));
    assert!(states[0].error.is_some() && states[0].info.is_some());

    held.replace(&good);
    held.databases.reload_changed();
    assert_eq!(held.country().as_deref(), Some("SE"));
    assert_eq!(held.databases.states()[0].error, None);
}

#[test]
fn a_vanished_file_leaves_its_database_and_is_told_once() {
    let held = Held::new();

    fs::remove_file(held.path()).unwrap();

    assert_eq!(held.databases.reload_changed().len(), 1);
    assert!(held.databases.reload_changed().is_empty());
    assert_eq!(held.country().as_deref(), Some("DE"));

    fs::copy(COUNTRY, held.path()).unwrap();
    assert!(held.databases.reload_changed().iter().all(|loaded| loaded.result.is_ok()));
    assert_eq!(held.databases.states()[0].error, None);
}

#[test]
fn without_files_nothing_is_known() {
    let none = Databases::default();

    assert!(none.is_empty() && none.reload().is_empty() && none.states().is_empty());
    assert_eq!(none.lookup([198, 51, 100, 7].into()), None);
}

#[test]
fn both_databases_answer_one_question() {
    let databases = Databases::new(Paths { country: Some(COUNTRY.into()), asn: Some(ASN.into()) });
    databases.reload();

    assert_eq!(databases.lookup([198, 51, 100, 7].into()).unwrap().to_string(), "DE AS64500 Example Hosting");
    assert_eq!(databases.lookup("2001:db8::7".parse().unwrap()).unwrap().to_string(), "SE AS64511 Example IPv6 Lab");
}
