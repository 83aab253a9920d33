#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# build/bin/nbdkit replaces the plugin name `briq`, and only that: not an option's argument, not a
# parameter, not another plugin.
source "$BRIQ_SOURCE/tests/lib/functions.sh"

# A real nbdkit that tells what it was called with.
mkdir "$tmp/real" "$tmp/build"
printf '#!/bin/bash\necho "$*"\n' >"$tmp/real/nbdkit"
chmod +x "$tmp/real/nbdkit"
shim=$BRIQ_BUILD/bin/nbdkit
so=$tmp/build/nbdkit-briq-plugin.so

called_with() {
    PATH=$tmp/real:$PATH BRIQ_BUILD=$tmp/build "$shim" "$@"
}

expect_call() {
    local wanted=$1
    shift
    expect_equal "call for '$*'" "$(called_with "$@")" "$wanted"
}

expect_call "$so disk.briq" briq disk.briq
expect_call "-f -U /s $so file=briq" -f -U /s briq file=briq
expect_call "-e briq $so briq" -e briq briq briq
expect_call "--export briq $so" --export briq briq
expect_call "--export=briq $so" --export=briq briq
expect_call "-fU briq $so" -fU briq briq
expect_call "memory briq" memory briq
expect_call "-U - $so mem:1G --run echo briq" -U - briq mem:1G --run 'echo briq'
expect_call "--dump-plugin $so" --dump-plugin briq
expect_call "--filter=cow --filter readahead $so" --filter=cow --filter readahead briq
expect_call "-D briq.x=1 $so" -D briq.x=1 briq
expect_call "--version" --version

BRIQ_NBDKIT_TOOL="env X=1" expect_call "-f $so a b" briq a b
