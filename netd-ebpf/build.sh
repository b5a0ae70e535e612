#!/usr/bin/env bash
# Builds the kernel programs and writes netd.bpf.o, limits.bpf.o and their provenance, netd.bpf.toml.
#
#   build.sh           writes them beside this file
#   build.sh --check   builds into a temporary folder and compares with what is committed: byte for byte where the
#                      compiler and the linker are the recorded ones
#
# Needs a Rust compiler with its library's source that shares LLVM 22 with bpf-linker: `make ebpf-tools` installs
# Debian's and builds the linker. Elsewhere NETD_EBPF_RUSTC and NETD_EBPF_CARGO name a nightly's.
set -euo pipefail
cd "$(dirname "$0")"

rustc=${NETD_EBPF_RUSTC:-/usr/bin/rustc}
cargo=${NETD_EBPF_CARGO:-/usr/bin/cargo}
export PATH="${NETD_EBPF_TOOLS:-/opt/netd-ebpf}/bin:/usr/lib/llvm-22/bin:$PATH"
for tool in "$rustc" "$cargo" bpf-linker llvm-strip; do
    command -v "$tool" >/dev/null || { echo "build.sh: $tool is missing; run 'make ebpf-tools'" >&2; exit 1; }
done

sysroot=$("$rustc" --print sysroot)
library=$(readlink -f "$sysroot/lib/rustlib/src/rust/library" || true)
[ -d "$library" ] || { echo "build.sh: the compiler's library source is missing; run 'make ebpf-tools'" >&2; exit 1; }

# Cargo hashes a path dependency's absolute path into every symbol, so the sources are built in one place everywhere.
stage=/tmp/netd-ebpf.build
for _ in $(seq 300); do mkdir "$stage" 2>/dev/null && break; sleep 1; done
[ -O "$stage" ] && [ -z "$(ls -A "$stage")" ] || { echo "build.sh: $stage is in use; remove it" >&2; exit 1; }
out=$(mktemp -d)
trap 'rm -rf "$out" "$stage"' EXIT
mkdir "$stage/netd-ebpf" "$stage/netd-common"
cp -r src Cargo.toml Cargo.lock "$stage/netd-ebpf/"
cp -r ../netd-common/src ../netd-common/Cargo.toml "$stage/netd-common/"
sed -E 's/^members = .*/members = ["netd-common"]/; /^default-members/d' ../Cargo.toml > "$stage/Cargo.toml"

# No path of the building machine may stay in the object, down to the registry's folder, whose name holds a host.
(cd "$stage/netd-ebpf" && RUSTC="$rustc" "$cargo" fetch --locked --quiet)
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
flags=(
    '--cfg=bpf_target_arch="x86_64"' -Cdebuginfo=2 -Ctarget-cpu=v3 -Clink-arg=--btf
    # The packet is rarely aligned; every kernel this runs on loads unaligned words in one instruction.
    -Clink-arg=--cpu-features=+allows-misaligned-mem-access
    "--remap-path-prefix=$stage=netd"
    "--remap-path-prefix=$library=library"
    "--remap-path-prefix=$sysroot/lib/rustlib/src/rust/library=library"
)
for folder in "$registry"/*/; do flags+=("--remap-path-prefix=${folder%/}=crates"); done
encoded=$(printf '%s\x1f' "${flags[@]}")

target=${NETD_EBPF_TARGET:-$PWD/target}
(cd "$stage/netd-ebpf" && RUSTC="$rustc" RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS=${encoded%$'\x1f'} CARGO_TARGET_DIR="$target" \
    "$cargo" build --release --locked --quiet --target bpfel-unknown-none -Z build-std=core)
for program in netd limits; do
    llvm-strip -g -o "$out/$program.bpf.o" "$target/bpfel-unknown-none/release/$program"
    if grep -aoE '(/root|/home/|/usr/(src|lib)/|/opt/|index\.crates|registry/src)[[:alnum:]/._-]{0,60}' "$out/$program.bpf.o"; then
        echo "build.sh: $program.bpf.o holds paths of this machine" >&2; exit 1
    fi
done

{
    echo '# Where netd.bpf.o comes from. Written by `make ebpf`; netd/build.rs refuses an object older than its sources.'
    echo "compiler = \"$("$rustc" --version | sed 's/"//g')\""
    echo "linker = \"$(bpf-linker --version)\""
    echo "llvm = \"$(llvm-strip --version | grep -oE 'LLVM version [0-9.]+' | head -1)\""
    for program in netd limits; do
        echo "$program = \"$(sha256sum "$out/$program.bpf.o" | cut -d' ' -f1)\""
    done
    echo
    echo '# SHA-256 of every source that went in, from the project root.'
    echo '[sources]'
    (cd .. && LC_ALL=C; find netd-ebpf/src netd-ebpf/Cargo.toml netd-ebpf/Cargo.lock netd-ebpf/build.sh netd-common/src \
        netd-common/Cargo.toml -type f | sort | while read -r file; do
            echo "\"$file\" = \"$(sha256sum "$file" | cut -d' ' -f1)\""
        done)
} > "$out/netd.bpf.toml"

if [ "${1:-}" != --check ]; then
    cp "$out"/netd.bpf.o "$out"/limits.bpf.o "$out"/netd.bpf.toml .
    echo "netd.bpf.o: $(stat -c %s netd.bpf.o) bytes, limits.bpf.o: $(stat -c %s limits.bpf.o) bytes"
    exit
fi
if ! diff <(sed -n '/^\[sources\]/,$p' netd.bpf.toml) <(sed -n '/^\[sources\]/,$p' "$out/netd.bpf.toml"); then
    echo "build.sh: the committed object is older than its sources; run 'make ebpf'" >&2; exit 1
fi
if diff <(grep -E '^(compiler|linker|llvm)' netd.bpf.toml) <(grep -E '^(compiler|linker|llvm)' "$out/netd.bpf.toml"); then
    cmp netd.bpf.o "$out/netd.bpf.o"
    cmp limits.bpf.o "$out/limits.bpf.o"
    echo "netd.bpf.o and limits.bpf.o come out byte for byte"
else
    echo "another compiler than the recorded one: not compared byte for byte; the fresh object is tested instead"
fi
if [ -n "${NETD_EBPF_FRESH:-}" ]; then cp "$out"/*.o "$out"/netd.bpf.toml "$NETD_EBPF_FRESH/"; fi
