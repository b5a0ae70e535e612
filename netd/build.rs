//! Embeds the committed kernel object, and refuses one that is older than its sources.

use std::{env, fs, path::Path};

use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("..");
    let ebpf = root.join("netd-ebpf");
    let provenance_path = ebpf.join("netd.bpf.toml");
    println!("cargo::rerun-if-changed={}", provenance_path.display());
    let provenance: toml::Table = fs::read_to_string(&provenance_path)?.parse()?;

    let sources = provenance.get("sources").and_then(toml::Value::as_table).ok_or("netd.bpf.toml: no [sources]")?;
    for (file, recorded) in sources {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
        let actual = fs::read(root.join(file)).map(|bytes| sha256(&bytes)).unwrap_or_default();
        if recorded.as_str() != Some(&actual) {
            println!("cargo::error={file} has changed since netd-ebpf/netd.bpf.o was built from it; run 'make ebpf'");
        }
    }
    println!("cargo::rerun-if-changed={}", ebpf.join("src").display());
    println!("cargo::rerun-if-changed={}", root.join("netd-common/src").display());
    for folder in [ebpf.join("src"), ebpf.join("src/bin"), root.join("netd-common/src")] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Ok(name) = path.strip_prefix(&root) else { continue };
            if path.is_file() && !sources.contains_key(&name.display().to_string()) {
                println!("cargo::error={} is not in netd-ebpf/netd.bpf.o; run 'make ebpf'", name.display());
            }
        }
    }

    let out = env::var("OUT_DIR")?;
    let object = ebpf.join("netd.bpf.o");
    println!("cargo::rerun-if-changed={}", object.display());
    let bytes = fs::read(&object)?;
    let digest = sha256(&bytes);
    if provenance.get("netd").and_then(toml::Value::as_str) != Some(&digest) {
        println!("cargo::error=netd-ebpf/netd.bpf.o is not the object netd.bpf.toml describes; run 'make ebpf'");
    }
    fs::write(Path::new(&out).join("netd.bpf.o"), bytes)?;
    println!("cargo::rustc-env=NETD_OBJECT_SHA256={digest}");
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
