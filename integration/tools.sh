#!/usr/bin/env bash
# Installs the Debian packages whose programs the red team plays with, and those that read netd's outputs. Services among them are not started: policy-rc.d
# says no while they are installed, as in a container. What cannot be installed is left out by the red team, and said so.
set -euo pipefail

wanted=(
    bash ksh zsh netcat-traditional netcat-openbsd ncat socat busybox telnet openssl
    python3 perl php-cli ruby lua5.4 lua-socket gawk nodejs tcl expect bsdutils
    openssh-server openssh-client xinetd git rsync lighttpd curl tmux screen cron openvpn strace tar debianutils
    jq prometheus
)
missing=()
for package in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod +x "$policy"
fi
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
for package in "${missing[@]}"; do
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$package" \
        || echo "left out: $package cannot be installed"
done
