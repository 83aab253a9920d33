#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A checker that cannot fail proves nothing: each one is given what it must refuse.
source "$BRIQ_SOURCE/tests/lib/functions.sh"

requires python3 -c pass
source_dir=$BRIQ_SOURCE

# ---- layers: each forbidden include, in a small tree of its own

tree=$tmp/tree
mkdir -p "$tree"/{common/{base,device,store},cli,nbdkit-plugin,tests,elsewhere}

expect_layer_error() {
    local file=$1 include=$2 message=$3
    echo "#include $include" >"$tree/$file"
    expect_failure 1 "$source_dir/tests/lib/check-layers" "$tree"
    expect_match "message" "$said" "$file:*$message*"
    rm "$tree/$file"
}

"$source_dir/tests/lib/check-layers" "$tree"
expect_layer_error common/base/a.c '"common/device/device.h"' 'must not include'
expect_layer_error common/device/a.h '"common/store/store.h"' 'must not include'
expect_layer_error common/store/a.c '"cli/verb.h"' 'must not include'
expect_layer_error common/store/a.c '"tests/lib/wrap.h"' 'must not include'
expect_layer_error cli/a.c '"common/store/map.h"' 'must not include'
expect_layer_error cli/a.c '"nbdkit-plugin/params.h"' 'must not include'
expect_layer_error nbdkit-plugin/a.c '"tests/lib/x.h"' 'must not include'
expect_layer_error common/store/a.c '"map.h"' 'from the root'
expect_layer_error common/store/map.c '<lz4.h>' 'may include'
expect_layer_error elsewhere/a.c '<stdio.h>' 'no room'
echo '#include "common/store/store.h"' >"$tree/cli/a.c"
echo '#include "common/store/map.h"' >"$tree/tests/a.c"
"$source_dir/tests/lib/check-layers" "$tree"

# ---- function length, banned calls, headers

long_function() {
    echo "$1"
    echo "int f(int x)"
    echo "{"
    for ((i = 0; i < 70; i++)); do echo "    x += $i;"; done
    echo "    return x;"
    echo "}"
}
if command -v ctags >/dev/null; then
    long_function "" >"$tmp/long.c"
    expect_failure 1 "$source_dir/scripts/function-length" "$tmp/long.c"
    expect_match "message" "$said" "*long.c:2: f() has 74 lines*"
    long_function "/* long: a table */" >"$tmp/long.c"
    "$source_dir/scripts/function-length" "$tmp/long.c"
fi

echo 'int f(void) { return atoi("1"); }' >"$tmp/banned.c"
expect_failure 1 "$source_dir/scripts/banned-calls" "$tmp/banned.c"
echo 'int f(void) { return my_atoi("1") + nanosleep(0, 0); }' >"$tmp/allowed.c"
"$source_dir/scripts/banned-calls" "$tmp/allowed.c"

echo 'static inline size_t f(void) { return 0; }' >"$tmp/needy.h"
expect_failure 1 "$source_dir/scripts/check-headers" "${CC:-gcc} -I$tmp" "$tmp/needy.h"
expect_match "message" "$said" "*needy.h: is not self-contained*"

# ---- the test runner: each way to fail is a failure, and is counted

cases=$tmp/cases
mkdir "$cases" "$tmp/build"
new_case() {
    printf '#!/bin/bash\n%s\n' "$2" >"$cases/$1.sh"
    chmod +x "$cases/$1.sh"
}
run_cases() {
    BRIQ_BUILD=$tmp/build BRIQ_SEED=7 "$source_dir/tests/lib/run-tests" --jobs 4 "$@"
}

# shellcheck disable=SC2016 # for the case to expand
new_case passes '[ "$BRIQ_SEED" = 7 ]'
new_case skips 'echo because of the moon; exit 77'
run_cases "$cases"/*.sh >"$tmp/out"
expect_match "output" "$(cat "$tmp/out")" "*skip * because of the moon*"
expect_equal "sum" "$(tail -n 1 "$tmp/out")" "1 passed, 0 failed, 1 skipped"

new_case fails 'echo what went wrong; exit 3'
new_case dies 'kill -SEGV $$'
# shellcheck disable=SC2016
new_case litters 'touch "$TMPDIR/crumb"'
new_case hangs $'# timeout: 1\nread -r _ < <(exec tail -f /dev/null)'
new_case strays 'setsid tail -f /dev/null >/dev/null 2>&1 & echo started'
expect_failure 1 run_cases "$cases"/*.sh
expect_match "output" "$said" "*FAIL*fails*exit 3*"
expect_match "output" "$said" "*what went wrong*"
expect_match "output" "$said" "*FAIL*dies*signal 11*"
expect_match "output" "$said" "*FAIL*litters*left behind: crumb*"
expect_match "output" "$said" "*FAIL*hangs*no end after*"
expect_match "output" "$said" "*FAIL*strays*left behind: process*"
expect_match "output" "$said" "*again: make check TEST=*SEED=7*"
expect_equal "sum" "$(tail -n 1 <<<"$said")" "1 passed, 5 failed, 1 skipped"

expect_failure 2 run_cases --only nothing "$cases"/*.sh
expect_match "message" "$said" "*no test is named nothing*"
run_cases --only 'pass*' "$cases"/*.sh >"$tmp/out"
expect_equal "sum" "$(tail -n 1 "$tmp/out")" "1 passed, 0 failed"

# ---- canaries: a bug that nobody notices, one in a place that is not there, one without a catcher

new_canary() {
    local name=$1 old=$2 new=$3 program=$4
    cat >"$tmp/$name.patch" <<EOF
Bug: none, or none that anybody would notice
Catcher: $program
Runs: 2

--- a/common/base/error.c
+++ b/common/base/error.c
@@ -1,2 +1,2 @@
-$old
+$new
 #include "common/base/error.h"
EOF
}
expect_canary_error() {
    expect_failure 1 env BRIQ_SEED=7 "$source_dir/tests/canary/every-canary-is-caught" "$tmp/$1.patch"
    expect_match "message" "$said" "*$1.patch: $2*"
    rm -rf "${BRIQ_BUILD:?}/canary/$1"
}
spdx='/* SPDX-License-Identifier: BSD-3-Clause */'
case $BRIQ_BUILD in
*/address | */thread | */cov) ;; # there are no canaries there
*)
    new_canary unnoticed "$spdx" "$spdx /* the same */" 'tests/unit/test_error *'
    expect_canary_error unnoticed 'SURVIVED 2 runs of tests/unit/test_error*none, or none that*'
    new_canary stale "$spdx /* gone */" "$spdx" 'tests/unit/test_error *'
    expect_canary_error stale 'does not apply to common/base/error.c any more: renew it*'
    new_canary homeless "$spdx" "$spdx /* the same */" 'tests/unit/test_of_nothing'
    expect_canary_error homeless '*test_of_nothing, which is not built*'
    ;;
esac

# ---- links

printf '[a](page.md) [b](https://example.org/x) [c](gone.md#part)\n' >"$tmp/page.md"
expect_failure 1 "$source_dir/scripts/check-links" "$tmp/page.md"
expect_equal "message" "$said" "$tmp/page.md: links to gone.md#part, which is not there"
