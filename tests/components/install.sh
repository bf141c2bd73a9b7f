#!/bin/bash
# Install the real clients and servers that the suites drive: packages by apt, Go programs with
# pinned versions into .tools, Python parts into .venv. Again and again is fine: what is there
# already is skipped. Starts nothing; fails at the first thing that cannot be installed.
# Arguments are further packages, of a suite that does not run every time.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(
    skopeo podman buildah runc containerd docker.io nginx-light docker-registry wrk haproxy
    busybox-static apache2-utils strace openssl e2fsprogs
    iproute2 iptables ethtool chromium gcc libc6-dev mmdebstrap systemd-container syncthing qemu-user-static
    fuse3 "$@"
)
commands=(
    skopeo podman buildah runc containerd ctr dockerd docker nginx docker-registry wrk haproxy
    busybox ab htpasswd strace openssl mkfs.ext4 go ip tc iptables ethtool chromium gcc
    mmdebstrap systemd-nspawn nsenter syncthing qemu-aarch64-static fusermount3
)
tools=( # directory below .tools, package of the command, its module's version
    "bin github.com/opencontainers/distribution-spec/conformance v0.0.0-20260831232431-97274622c111"
    "bin github.com/google/go-containerregistry/cmd/crane v0.22.1"
    "bin oras.land/oras/cmd/oras v1.3.6"
    "bin github.com/regclient/regclient/cmd/regctl v0.11.7"
    "bin github.com/distribution/distribution/v3/cmd/registry v3.1.2"
    "bin github.com/minio/minio v0.0.0-20260212201848-7aac2a2c5b7c" # the last one, archived since
    "bin helm.sh/helm/v3/cmd/helm v3.22.0"
    # Beside Debian's own containerd, which most tests drive.
    "containerd2/bin github.com/containerd/containerd/v2/cmd/containerd v2.2.9"
    "containerd2/bin github.com/containerd/containerd/v2/cmd/ctr v2.2.9"
)
tags=no_btrfs,no_devmapper,no_zfs # snapshotters of containerd that no test uses
export PATH="$PATH:/usr/sbin:/sbin:/usr/local/go/bin"

fail() { echo "install.sh: $*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

missing_packages() {
    local package
    for package in "${packages[@]}"; do
        installed "$package" || echo "$package"
    done
    command -v go >/dev/null || echo golang-go
}

# Packages must not start their daemons: Debian asks this script, and 101 means no.
forbid_daemons() {
    [ -e /usr/sbin/policy-rc.d ] && return
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    [ "${#missing[@]}" = 0 ] && return
    command -v apt-get >/dev/null || fail "needs Debian's apt-get for: ${missing[*]}"
    forbid_daemons
    as_root apt-get update -qq
    # Newer Debian has the docker command in a package of its own.
    if apt-cache show docker-cli >/dev/null 2>&1; then missing+=(docker-cli); fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

built() { # file version: is exactly this version there?
    go version -m "$1" 2>/dev/null | awk '$1 == "mod" { print $3 }' | grep -qxF "$2"
}

install_tools() {
    local bin file package version
    for tool in "${tools[@]}"; do
        read -r bin package version <<<"$tool"
        bin="$PWD/.tools/$bin"
        file="$bin/${package##*/}"
        built "$file" "$version" && continue
        echo "building $package $version"
        GOBIN="$bin" CGO_ENABLED=0 GOFLAGS=-mod=mod go install -tags "$tags" "$package@$version" ||
            fail "cannot build $package $version with $(go version)"
        built "$file" "$version" || fail "$file is not $version after its build"
    done
}

check_commands() {
    local command
    for command in "${commands[@]}"; do
        command -v "$command" >/dev/null || fail "$command is missing although its package is there"
    done
}

install_packages
check_commands
install_tools
.venv/bin/pip install --quiet -r tests/components/requirements.txt -c constraints.txt
echo "components are ready: ${commands[*]} and $(ls -d .tools/bin/* .tools/*/bin/* | xargs)"
