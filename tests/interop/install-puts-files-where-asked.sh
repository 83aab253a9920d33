#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `make install` puts a working program, plugin, man pages and completion below DESTDIR, where PREFIX
# and PLUGINDIR say; `make uninstall` takes away every one of them.
source "$BRIQ_SOURCE/tests/lib/functions.sh"

requires make --version

# The caller's variables come along in MAKEFLAGS, so nothing is rebuilt; its job slots do not.
MAKEFLAGS=$(sed -E 's/ ?--jobserver-(auth|fds)=[^ ]*//g; s/(^| )-?j[0-9]*( |$)/\2/g' <<<"${MAKEFLAGS:-}")
export MAKEFLAGS
unset MFLAGS MAKELEVEL
flavour=${BRIQ_BUILD##*/}
root=$tmp/root
plugindir=/usr/lib/nbdkit-plugins-here
build() {
    local san='' cov=''
    case $flavour in
    address | thread) san=$flavour ;;
    cov) cov=1 ;;
    esac
    make -C "$BRIQ_SOURCE" --no-print-directory SAN="$san" COV="$cov" DESTDIR="$root" PREFIX=/usr \
        PLUGINDIR="$plugindir" "$@"
}

build install

files=$(cd "$root" && find . -type f | sort)
expect_equal "list of installed files" "$files" "$(sort <<FILES
$(cd "$BRIQ_SOURCE/qemu" && printf './usr/share/briq/%s\n' briqvm/*.py)
./usr/bin/briq
./usr/bin/briq-vm
./usr/share/briq/60-briq-ublk.rules
./usr/share/bash-completion/completions/briq
./usr/share/man/man1/briq.1
./usr/share/man/man1/briq-vm.1
./usr/share/man/man1/nbdkit-briq-plugin.1
.$plugindir/nbdkit-briq-plugin.so
FILES
)"

# The installed program and plugin work together, from another directory, without the tree.
cd "$tmp" || exit
"$root/usr/bin/briq" --version
"$root/usr/bin/briq" create disk.briq 64M
start_nbdkit installed "$root$plugindir/nbdkit-briq-plugin.so" disk.briq
expect_equal "size" "$(nbdinfo --size "$installed_uri")" $((64 << 20))
stop_process "$installed_pid"
"$root/usr/bin/briq" check disk.briq
PATH=$root/usr/bin:$PATH "$root/usr/bin/briq-vm" launch disk.briq --print >print.log
grep -q '^qemu-system-x86_64' print.log || fail "briq-vm prints no command: $(cat print.log)"

# The plugin shows its entry point and nothing of the library inside it.
if [ "$flavour" != cov ] && command -v nm >/dev/null; then
    exported=$(nm -D --defined-only "$root$plugindir/nbdkit-briq-plugin.so" |
        awk '$3 !~ /^__(asan|odr_asan|tsan|ubsan)/ { print $3 }')
    expect_equal "list of exported symbols" "$exported" plugin_init
fi

for page in "$root"/usr/share/man/man1/*.1; do
    grep -q '^\.SH' "$page" || fail "$page has no section"
    if command -v groff >/dev/null; then
        complaints=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
        expect_equal "complaints of groff about ${page##*/}" "$complaints" ""
    fi
done

for name in briq briq-vm; do bash -n "$root/usr/share/bash-completion/completions/$name"; done

build uninstall
expect_equal "files after uninstall" "$(find "$root" -type f)" ""
