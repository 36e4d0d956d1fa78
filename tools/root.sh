#!/usr/bin/env bash
# Runs tests on a Python that this machine does not have, in a Debian root of its own:
#
#   tools/root.sh 3.15                  the tests of `make another`
#   tools/root.sh 3.15 tests/app        others; all further arguments are pytest's
#
# The root is made once, in $TRIO_WS_ROOT or below ~/.cache, and so are the environments in it. It needs the user root,
# debootstrap and Debian's packages; where one is missing, the reason is printed and the status is 0. What is mounted is
# so in a name space of its own, and ends with it.
set -euo pipefail

version=${1:?"usage: tools/root.sh 3.15 [pytest's arguments]"}
shift
here=$(cd "$(dirname "$0")/.." && pwd)
root=${TRIO_WS_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/trio-ws/forky}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
packages=python$version,python$version-venv,python$version-dev,gcc,libc6-dev,make,git,ca-certificates

skip() {
    echo "Python $version: not tested, $*"
    exit 0
}

[[ $(uname) == Linux ]] || skip 'a Debian root is for Linux'
[[ $(id -u) == 0 ]] || skip 'a Debian root needs root'
command -v unshare >/dev/null || skip 'there is no unshare (util-linux)'
unshare --mount true 2>/dev/null || skip 'mounting is not allowed here'

if [[ ! -e $root/usr/bin/env ]]; then
    command -v debootstrap >/dev/null || skip 'there is no debootstrap (apt-get install debootstrap)'
    echo "Python $version: making a Debian root in $root, once"
    # Older versions of debootstrap do not know forky: its script is that of sid.
    if ! debootstrap --variant=minbase --include="$packages" forky "$root.new" "$mirror" sid >"$root.log" 2>&1; then
        rm -rf "$root.new"
        skip "debootstrap failed (the log is $root.log)"
    fi
    mv "$root.new" "$root"
fi
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
# Where the packages' index has a certificate of its own.
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"

if [[ ! -e $root/usr/bin/python$version ]]; then
    update='apt-get -o Acquire::Check-Valid-Until=false update -qq'
    chroot "$root" sh -c "$update; apt-get install -y -qq --no-install-recommends ${packages//,/ }" >"$root.log" 2>&1 ||
        skip "Debian has no python$version (the log is $root.log)"
fi

# A copy of what is in the working tree, so that neither built modules nor environments meet; what was copied before and
# is in the tree no more goes.
mkdir -p "$root/src"
find "$root/src" \( -name '.venv*' -o -name build -o -name '*.egg-info' \) -prune -o \
    -type f ! -name '*.so' -exec rm -f {} +
git -C "$here" ls-files -z --cached --others --exclude-standard |
    tar -C "$here" --null --files-from=- --ignore-failed-read -cf - 2>/dev/null | tar -xf - -C "$root/src"

exec unshare --mount --propagation private bash -c '
    root=$1 version=$2
    shift 2
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    exec env -i HOME=/root PATH=/usr/bin:/usr/sbin:/bin LANG=C.UTF-8 PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
        chroot "$root" make -C /src another PYTHON="python$version" WORKERS="${WORKERS:-auto}" ARGS="$*"
' root "$root" "$version" "$@"
