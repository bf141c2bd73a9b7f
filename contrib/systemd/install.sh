#!/bin/bash
# Install distserver as a service of this machine, or remove it. Called by make:
#   make install-systemd [PREFIX=/opt/distserver] [DESTDIR=] [WHEELS=DIR] [ENABLE=1]
#   make uninstall-systemd [PREFIX=/opt/distserver] [DESTDIR=]
#   DESTDIR  install below this directory, for an image of a machine that is not running
#   WHEELS   take packages from this directory instead of the network:
#            pip wheel -c constraints.txt -w DIR .
#   ENABLE   1 = also start it now and at each boot
# Again and again is fine: settings and data that are there stay as they are.
set -euo pipefail
cd "$(dirname "$0")/../.."

PREFIX=${PREFIX:-/opt/distserver}
DESTDIR=${DESTDIR:-}
WHEELS=${WHEELS:-}
here=contrib/systemd
lib=$DESTDIR/usr/local/lib
units=(distserver.service distserver.socket distserver-import.service)

is_running() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }

install_program() {
    # Beside the old one, which stays in use if this fails; scripts name the place of later.
    local new=$DESTDIR$PREFIX.new from=(-c constraints.txt .)
    [ -z "$WHEELS" ] || from=(--no-index --find-links "$WHEELS" distserver)
    python3 -m venv --clear "$new"
    "$new/bin/python" -m pip install --quiet --disable-pip-version-check "${from[@]}"
    grep -lI -d skip "^#!$new/" "$new"/bin/* | xargs sed -i "1s|^#!$new/|#!$PREFIX/|"
    install -D -m 755 $here/import_images.py "$new/libexec/import_images.py"
    install -D -m 644 -t "$new/share/doc" docs/guide/systemd.md
    rm -rf "$DESTDIR${PREFIX:?}"
    mv "$new" "$DESTDIR$PREFIX"
    mkdir -p "$DESTDIR/usr/local/bin"
    ln -sfn "$PREFIX/bin/distserver" "$DESTDIR/usr/local/bin/distserver"
}

install_units() {
    local unit
    mkdir -p "$lib/systemd/system" "$lib/sysusers.d" "$lib/tmpfiles.d"
    for unit in "${units[@]}"; do
        sed "s|/opt/distserver|$PREFIX|g" "$here/$unit" >"$lib/systemd/system/$unit"
    done
    install -m 644 $here/sysusers.conf "$lib/sysusers.d/distserver.conf"
    install -m 644 $here/tmpfiles.conf "$lib/tmpfiles.d/distserver.conf"
    install_setting 644 config.toml
    install_setting 600 environment
}

install_setting() { # mode file
    local target=$DESTDIR/etc/distserver/$2
    [ -e "$target" ] || install -D -m "$1" "$here/$2" "$target"
}

# Not for DESTDIR: there, boot makes the directories, and the first start the identity.
set_up() {
    systemd-tmpfiles --create "$lib/tmpfiles.d/distserver.conf"
    if is_running; then systemctl daemon-reload; fi
    if ! runuser -u distserver -- "$PREFIX/bin/distserver" init; then
        echo "The storage has no identity yet: mount it, then run"
        echo "    runuser -u distserver -- distserver init"
        return 1
    fi
}

start_or_say() {
    if [ "${ENABLE:-}" = 1 ]; then
        systemctl --root="$DESTDIR/" enable distserver.service
        if is_running; then systemctl restart distserver.service; fi
        return
    fi
    if is_running; then systemctl try-restart distserver.service; fi
    echo "Installed. To serve now and at each boot: systemctl enable --now distserver"
}

install_all() {
    install_program
    install_units
    systemd-sysusers --root="$DESTDIR/" "$lib/sysusers.d/distserver.conf"
    if [ -z "$DESTDIR" ]; then set_up; fi
    start_or_say
}

uninstall_all() {
    if is_running && [ -e "$lib/systemd/system/distserver.service" ]; then
        systemctl disable --now "${units[@]}"
    fi
    for unit in "${units[@]}"; do rm -f "$lib/systemd/system/$unit"; done
    rm -f "$lib/sysusers.d/distserver.conf" "$lib/tmpfiles.d/distserver.conf"
    rm -f "$DESTDIR/usr/local/bin/distserver"
    rm -rf "$DESTDIR${PREFIX:?}"
    if is_running; then systemctl daemon-reload; fi
    echo "Removed. Kept: /etc/distserver, the user distserver, and all data in /var/lib/distserver"
    echo "(or wherever storage in /etc/distserver/config.toml points to)."
}

case ${1:-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) sed -n '2,10s/^# \?//p' "$0" && exit 2 ;;
esac
