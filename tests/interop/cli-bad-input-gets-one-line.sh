#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Bad input gets one line that names what is wrong with what, and exit code 2; nothing is changed and
# nothing is left behind.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
cd "$tmp" || exit

# refused GLOB COMMAND...
refused() {
    local glob=$1
    shift
    expect_failure 2 "$@"
    expect_match "message of '$*'" "$said" "$glob"
    expect_equal "lines of '$said'" "$(wc -l <<<"$said")" 1
}

head -c 1M /dev/urandom >raw
mkdir dir
: >empty
briq create disk.briq 8M
briq create grown.briq 8M # to be opened for writing, which counts its openings
sum=$(sha256sum disk.briq raw)

# Command lines.
refused "briq: missing verb*" briq
refused "*unknown verb \"frob\"*--help*" briq frob
refused "*unknown option \"--frob\"*" briq --frob
refused "briq create: unknown option --frob*" briq create --frob x 1M
refused "briq create: unknown option --frob;*" briq create --frob=3 x 1M
refused "briq create: unknown option -x*" briq create -x x 1M
refused "briq create: missing argument: VOLUME*" briq create
refused "briq create: missing argument: SIZE*" briq create x
refused "briq create: one argument too many: y*" briq create x 1M y
refused "briq create: --accel needs a value*" briq create x 1M --accel
refused "briq create: no value is allowed with --force*" briq create x 1M --force=yes
refused "briq create: --accel: 65 is not between 1 and 64" briq create --accel 65 x 1M
refused "briq create: --accel: \"two\" is not a number" briq create --accel two x 1M
refused "briq import: --threads: 0 is not between*" briq import --threads 0 raw x
refused "briq import: --size: \"1X\" is not a size*" briq import --size 1X raw x
refused "briq dump: there is no part \"frob\"*superblock*" briq dump disk.briq frob
refused "briq help: there is no verb \"frob\"*" briq help frob
refused "briq bench: there is no benchmark \"frob\"*" briq bench frob
refused "briq bench: --threads: \"1,x\" is not a list*" briq bench store --threads 1,x

# Sizes.
refused "briq create: *SIZE*\"lots\"*" briq create x lots
refused "briq create: *SIZE*\"-1\"*" briq create x -- -1
refused "briq create: *" briq create x 0
refused "briq create: *512*" briq create x 1000
refused "briq create: *4*T*" briq create x 5T
refused "briq create: *too large*" briq create x 99999999999999999999
refused "briq resize: *" briq resize grown.briq 4M
refused "briq resize: *512*" briq resize grown.briq +100
refused "briq import: raw: *1048576*--size*524288*" briq import --size 512K raw x
refused "briq import: empty: it is empty*" briq import empty x
refused "briq import: standard input: it is empty*" briq import - x <empty
refused "briq import: standard input*--size*" briq import --size 512K - x <raw

# Files that are not there, not what they should be, or there already.
refused "briq info: nothing: does not exist*" briq info nothing
refused "briq info: *raw*" briq info raw
refused "briq info: *empty*" briq info empty
refused "briq info: *dir*" briq info dir
refused "briq check: *raw*" briq check raw
refused "briq dump: *raw*" briq dump raw
refused "briq compact: *raw*" briq compact raw
refused "briq export: *raw*" briq export raw x
refused "briq import: nothing: No such file*" briq import nothing x
refused "briq import: dir: it is a directory*" briq import dir x
refused "briq create: *disk.briq*exist*" briq create disk.briq 1M
refused "briq import: *disk.briq*exist*" briq import raw disk.briq
refused "briq export: raw: it exists; --force*" briq export disk.briq raw
refused "briq import: raw: source and volume are the same file" briq import --force raw ./raw
refused "briq export: *same file" briq export --force disk.briq "$PWD/disk.briq"
refused "briq create: *nowhere*" briq create nowhere/x 1M
refused "briq export: nowhere/x: No such file*" briq export disk.briq nowhere/x
refused "briq create: mem:1G: a volume in memory*" briq create mem:1G 1G
refused "briq import: nbd+unix:///?socket=$tmp/none: *No such file*" \
    briq import "nbd+unix:///?socket=$tmp/none" x
refused "*only a file can be written as qcow2" briq export --format qcow2 disk.briq -

[ ! -e x ] || fail "something was left behind"
expect_equal "content" "$(sha256sum disk.briq raw)" "$sum"
