use std::{fs, os::unix::fs::symlink, time::Instant};

use super::*;

fn package(name: &str) -> Owner {
    Owner::Package(name.into())
}

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A merged root with two packages, one of which diverts a file of the other.
fn debian() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    symlink("usr/bin", root.path().join("bin")).unwrap();
    write(root.path(), "var/lib/dpkg/info/bash.list", "/.\n/bin\n/bin/bash\n/usr/bin/bashbug\n");
    write(root.path(), "var/lib/dpkg/info/perf:amd64.list", "/.\n/usr/bin/perf\n");
    write(root.path(), "var/lib/dpkg/info/wrapper.list", "/usr/bin/perf\n");
    write(root.path(), "var/lib/dpkg/diversions", "/usr/bin/perf\n/usr/bin/perf.distrib\nwrapper\n");
    root
}

#[test]
fn a_listed_file_belongs_to_its_package_under_either_name_of_a_merged_directory() {
    let root = debian();
    let index = read(root.path());

    assert_eq!(index.owner(Path::new("/usr/bin/bash")), package("bash"));
    assert_eq!(index.owner(Path::new("/bin/bash")), package("bash"));
    assert_eq!(index.owner(Path::new("/bin/bashbug")), package("bash"));
}

#[test]
fn a_diverted_file_lies_elsewhere_and_its_name_belongs_to_who_diverted_it() {
    let root = debian();
    let index = read(root.path());

    assert_eq!(index.owner(Path::new("/usr/bin/perf")), package("wrapper"));
    assert_eq!(index.owner(Path::new("/usr/bin/perf.distrib")), package("perf"));
}

#[test]
fn what_no_package_lists_is_nobodys() {
    let root = debian();

    assert_eq!(read(root.path()).owner(Path::new("/usr/local/bin/x")), Owner::Nobody);
}

#[test]
fn without_a_database_nothing_is_known() {
    let root = tempfile::tempdir().unwrap();

    assert_eq!(read(root.path()).owner(Path::new("/usr/bin/bash")), Owner::Unknown);
}

#[test]
fn an_image_without_dpkg_lists_its_packages_in_status_d() {
    let root = tempfile::tempdir().unwrap();
    let sums = "d41d8cd98f00b204e9800998ecf8427e  usr/bin/openssl\nd41d8cd98f00b204e9800998ecf8427e  ./etc/x\n";
    write(root.path(), "var/lib/dpkg/status.d/openssl.md5sums", sums);
    write(root.path(), "var/lib/dpkg/status.d/openssl", "Package: openssl\n");

    let index = read(root.path());

    assert_eq!(index.owner(Path::new("/usr/bin/openssl")), package("openssl"));
    assert_eq!(index.owner(Path::new("/etc/x")), package("openssl"));
}

#[test]
fn alpines_files_belong_to_the_package_above_them() {
    let root = tempfile::tempdir().unwrap();
    let installed = "C:Q1\nP:busybox\nV:1\nF:bin\nR:busybox\na:0:0:755\n\nP:curl\nF:usr/bin\nR:curl\nF:\nR:top\n";
    write(root.path(), "lib/apk/db/installed", installed);

    let index = read(root.path());

    assert_eq!(index.owner(Path::new("/bin/busybox")), package("busybox"));
    assert_eq!(index.owner(Path::new("/usr/bin/curl")), package("curl"));
    assert_eq!(index.owner(Path::new("/top")), package("curl"));
}

/// Writes an rpm database as rpm does, in the mode with a log.
fn rpmdb(path: &Path) -> rusqlite::Connection {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    let schema = "PRAGMA journal_mode = WAL; CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)";
    connection.execute_batch(schema).unwrap();
    for blob in [header::tests::written("bash", &[("/usr/bin/", "bash")]), b"broken".to_vec()] {
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", [blob]).unwrap();
    }
    connection
}

#[test]
fn an_rpm_database_is_read_while_another_has_it_open_and_when_nobody_has() {
    let root = tempfile::tempdir().unwrap();
    let connection = rpmdb(&root.path().join("var/lib/rpm/rpmdb.sqlite"));

    let during = read(root.path()).owner(Path::new("/usr/bin/bash"));
    drop(connection);
    let after = read(root.path()).owner(Path::new("/usr/bin/bash"));

    assert_eq!((during, after), (package("bash"), package("bash")));
}

#[test]
fn an_rpm_database_that_cannot_be_read_leaves_owners_unknown() {
    for (name, content) in
        [("Packages", "b"), ("Packages.db", "ndb"), ("rpmdb.sqlite", "no database, though long enough")]
    {
        let root = debian();
        write(root.path(), &format!("var/lib/rpm/{name}"), content);

        let index = read(root.path());

        assert_eq!(index.owner(Path::new("/usr/bin/unheard-of")), Owner::Unknown, "{name}");
        assert_eq!(index.owner(Path::new("/usr/bin/bash")), package("bash"), "{name}");
    }
}

#[test]
fn a_changed_database_has_another_stamp() {
    let root = debian();
    let before = stamp(root.path());

    write(root.path(), "var/lib/dpkg/info/new.list", "/usr/bin/new\n");

    assert_ne!(stamp(root.path()), before);
}

#[test]
fn the_index_is_built_in_the_background() {
    let root = debian();
    let packages = Packages::start(root.path().to_owned()).unwrap();

    let deadline = Instant::now() + Duration::from_secs(10);
    while packages.owner(Path::new("/bin/bash")) == Owner::Unknown {
        assert!(Instant::now() < deadline, "no index");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(packages.owner(Path::new("/bin/bash")), package("bash"));
}

#[test]
fn this_debian_knows_its_files() {
    if !Path::new("/var/lib/dpkg/info/bash.list").exists() {
        return netd_lab::left_out!("this is no Debian");
    }
    let started = Instant::now();
    let index = read(Path::new("/"));
    let took = started.elapsed();

    println!("{} files of {} packages: {} bytes, {took:?}", index.files(), index.packages(), index.bytes());
    assert_eq!(index.owner(Path::new("/usr/bin/bash")), package("bash"));
    assert_eq!(index.owner(Path::new("/bin/sh")), package("dash"));
    assert_eq!(index.owner(Path::new("/usr/local/bin/no-such-tool")), Owner::Nobody);
    assert_eq!(index.owner(Path::new("/opt/anything/bin/tool")), Owner::Nobody);
    assert!(index.bytes() < 16 * index.files() + 64 * index.packages() + 1024);
}
