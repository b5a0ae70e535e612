#!/usr/bin/env bash
# Installs on Debian what build.sh needs: a Rust compiler with its library's source, the LLVM it was built with, and
# bpf-linker built against that LLVM. Elsewhere: a nightly with rust-src, and `cargo install bpf-linker`.
set -euo pipefail

tools=${NETD_EBPF_TOOLS:-/opt/netd-ebpf}
version=0.13.0
sudo=$([ "$(id -u)" = 0 ] || echo sudo)

packages=(rustc-web cargo-web rust-web-src llvm-22 llvm-22-dev libpolly-22-dev)
if ! dpkg-query -W "${packages[@]}" >/dev/null 2>&1; then
    $sudo apt-get update -q
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q "${packages[@]}"
fi
if [ "$("$tools/bin/bpf-linker" --version 2>/dev/null)" != "bpf-linker $version" ]; then
    # llvm-sys finds the headers by the prefix, the linker the library by the path.
    $sudo env "PATH=/usr/lib/llvm-22/bin:$PATH" "HOME=$HOME" LLVM_SYS_221_PREFIX=/usr/lib/llvm-22 \
        RUSTFLAGS="-L native=/usr/lib/llvm-22/lib -C link-arg=-Wl,-rpath,/usr/lib/llvm-22/lib" \
        "$(command -v cargo)" install bpf-linker --version "$version" --locked --no-default-features --features llvm-22 \
        --root "$tools" --force
fi
echo "bpf-linker: $("$tools/bin/bpf-linker" --version), compiler: $(/usr/bin/rustc --version)"
