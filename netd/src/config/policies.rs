//! The operator's policies: a file, or a directory of them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use netd_engine::policy::{Fault, MOST, Place, Policies, Source};
use netd_engine::services::Services;

/// The policy that netd ships: findings only.
const SHIPPED: &str = include_str!("../../../policies/default.yaml");
/// Such a file is a few kilobytes; a larger one is a mistake or an attack on the parser.
const MAX_FILE: u64 = 1 << 20;

/// Why policies cannot be used: every file's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Faults(pub Vec<Fault>);

/// A file of policies as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// What faults call the file.
    pub file: String,
    pub text: String,
}

/// The files of policies at a path: what could be read of them, and the faults of the others.
#[derive(Debug, Default)]
pub struct Texts {
    pub texts: Vec<Text>,
    pub faults: Vec<Fault>,
}

/// Reads policies: of a file, or of every `*.yaml` and `*.yml` of a directory by name. An empty path is the one that
/// netd ships.
///
/// # Errors
/// Each fault with file, line and column, and what was expected.
pub fn read(path: &Path) -> Result<Policies, Faults> {
    let Texts { texts, faults } = texts(path)?;
    stated(&texts, faults).map(|(policies, _)| policies)
}

/// Returns what texts state together, and where.
///
/// # Errors
/// `faults`, and those of the texts.
pub fn stated(texts: &[Text], faults: Vec<Fault>) -> Result<(Policies, Vec<Place>), Faults> {
    let sources: Vec<_> = texts.iter().map(|Text { file, text }| Source { file, text }).collect();
    match Policies::read_placed(&sources) {
        Ok(stated) if faults.is_empty() => Ok(stated),
        Ok(_) => Err(Faults(faults)),
        Err(more) => Err(Faults(faults.into_iter().chain(more).collect())),
    }
}

/// Reads the files of policies at a path, in their order. An empty path is the policy that netd ships.
///
/// # Errors
/// When there are none, or too many.
pub fn texts(path: &Path) -> Result<Texts, Faults> {
    if path.as_os_str().is_empty() {
        let shipped = Text { file: "the policy netd ships".to_owned(), text: SHIPPED.to_owned() };
        return Ok(Texts { texts: vec![shipped], faults: Vec::new() });
    }
    let fault = |path: &Path, error: io::Error| Fault::whole(path.display().to_string(), error.to_string());
    let files = files(path).map_err(|error| Faults(vec![fault(path, error)]))?;
    if files.is_empty() || files.len() > MOST {
        let message = format!("{} policy files; expected from 1 to {MOST} that end in .yaml or .yml", files.len());
        return Err(Faults(vec![Fault::whole(path.display().to_string(), message)]));
    }
    let mut read = Texts::default();
    for file in files {
        match text(&file) {
            Ok(text) => read.texts.push(Text { file: file.display().to_string(), text }),
            Err(error) => read.faults.push(fault(&file, error)),
        }
    }
    Ok(read)
}

/// Returns whether a change of this file can be one of policies at `path`. Kubernetes swaps `..data` beneath its files.
#[must_use]
pub fn concerns(path: &Path, changed: &Path) -> bool {
    let is_swap = changed.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    is_swap || changed.file_name() == path.file_name() || changed.parent() == Some(path) && is_policy(changed)
}

/// Returns the files of policies at a path, in their order.
///
/// # Errors
/// When a directory cannot be read.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if is_policy(&file) && files.len() <= MOST {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Hidden files are an editor's, or Kubernetes' own.
fn is_policy(file: &Path) -> bool {
    let is_hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Returns whether a file names benign services, and so no policy.
#[must_use]
pub fn is_services(file: &Path) -> bool {
    text(file).is_ok_and(|text| Services::read(&text).is_ok())
}

fn text(file: &Path) -> io::Result<String> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    // One byte more than may be shows that there is more.
    File::open(file)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    match text.len() as u64 <= MAX_FILE {
        true => Ok(text),
        false => Err(io::Error::other(format!("more than {MAX_FILE} bytes; a policy is a few kilobytes"))),
    }
}

/// Returns whether the policy that netd ships has this name.
#[must_use]
pub fn is_shipped(name: &str) -> bool {
    Policies::read(&[Source { file: "", text: SHIPPED }]).is_ok_and(|shipped| shipped.get(name).is_some())
}

/// Returns what can be meant and is likely not.
#[must_use]
pub fn warnings(policies: &Policies) -> Vec<String> {
    let untested = policies.iter().filter(|policy| policy.spec.tests.is_empty());
    let untested = untested.map(|policy| format!("policy {} has no tests", policy.name));
    let unreachable = policies.unreachable().map(|(policy, by)| {
        format!("policy {} is never asked: {} before it takes every finding", policy.name, by.name)
    });
    untested.chain(unreachable).collect()
}

#[cfg(test)]
mod tests {
    use netd_engine::policy::Mode;
    use netd_engine::respond::Measure;

    use super::*;

    const STRICT: &str = include_str!("../../../policies/strict.yaml");

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn policy(name: &str) -> String {
        format!("apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {{name: {name}}}\nspec: {{}}\n")
    }

    #[test]
    fn the_shipped_policy_only_observes() {
        let policies = read(Path::new("")).unwrap();

        assert!(policies.iter().all(|policy| policy.spec.mode == Mode::Observe && policy.spec.respond.is_empty()));
    }

    #[test]
    fn the_strict_policy_cuts_shells_and_kills_nobody() {
        let folder = folder(&[("strict.yaml", STRICT)]);

        let policies = read(&folder.path().join("strict.yaml")).unwrap();

        let respond = &policies.get("strict").unwrap().spec.respond;
        let names: Vec<_> = respond.keys().map(|detector| detector.name()).collect();
        assert_eq!(names, ["host_reverse_shell", "bind_shell"]);
        assert!(respond.values().all(|rule| rule.measures == [Measure::Cut]));
    }

    #[test]
    fn a_directory_is_read_in_the_order_of_its_names() {
        let (a, b) = (policy("a"), policy("b"));
        let folder = folder(&[("20-a.yaml", &a), ("10-b.yml", &b), (".hidden.yaml", "?"), ("notes.txt", "?")]);

        let policies = read(folder.path()).unwrap();

        assert_eq!(policies.iter().map(|policy| &*policy.name).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn every_file_that_cannot_be_used_is_told() {
        let good = policy("a");
        let files = [("1.yaml", "kind: X"), ("2.yaml", &good), ("3.yaml", "}"), ("4.yaml", &good)];
        let folder = folder(&files);
        fs::write(folder.path().join("5.yaml"), vec![b'#'; (MAX_FILE + 1) as usize]).unwrap();
        fs::create_dir(folder.path().join("6.yaml")).unwrap();

        let faults = read(folder.path()).unwrap_err().to_string();

        for part in ["1.yaml:1:", "3.yaml:1:", "4.yaml:3:", "5.yaml: error: more than", "6.yaml: error: not a regular"]
        {
            assert!(faults.contains(part), "{part}: {faults}");
        }
        assert!(!faults.contains("2.yaml:"), "{faults}");
    }

    #[test]
    fn an_empty_directory_and_a_file_that_is_not_there_are_faults() {
        let folder = folder(&[]);

        assert!(read(folder.path()).unwrap_err().to_string().contains("0 policy files"));
        assert!(read(&folder.path().join("none.yaml")).unwrap_err().to_string().contains("none.yaml"));
    }

    /// Reads the strict policy with other words for what is done about a reverse shell.
    fn responding(words: &str) -> Result<Policies, Faults> {
        let text = STRICT.replacen("host_reverse_shell: {from: high, do: [cut]}", words, 1);
        read(&folder(&[("my.yaml", &text)]).path().join("my.yaml"))
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused_with_the_reason() {
        let table = [
            ("host_reverse_shel: {from: high, do: [cut]}", "host_reverse_shel"),
            ("host_reverse_shell: {from: hihg, do: [cut]}", "hihg"),
            ("host_reverse_shell: {from: high, do: [shoot]}", "shoot"),
            ("host_reverse_shell: {from: high, do: []}", "names nothing"),
            ("host_reverse_shell: {from: high, do: [cut, cut]}", "cut twice"),
            ("host_reverse_shell: {from: high, do: [stop, kill]}", "stop and kill"),
            ("host_reverse_shell: {do: [cut]}", "from"),
            ("host_reverse_shell: {from: high, do: [cut], at: once}", "at"),
        ];
        for (words, expected) in table {
            let fault = responding(words).unwrap_err().to_string();

            assert!(fault.contains(expected) && fault.contains("my.yaml:"), "{words}: {fault}");
        }
    }

    #[test]
    fn responses_are_read_in_the_order_in_which_they_are_done() {
        let policies = responding("host_reverse_shell: {from: critical, do: [block, kill, cut]}").unwrap();

        let rule = policies.get("strict").unwrap().spec.respond.values().next().unwrap();
        assert_eq!(rule.measures, [Measure::Cut, Measure::Kill, Measure::Block]);
    }
}
