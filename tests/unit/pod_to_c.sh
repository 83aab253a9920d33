#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# pod-to-c takes the marked part of a man page and prints it as a C string without markup.
source "$BRIQ_SOURCE/tests/lib/functions.sh"

cat >"$tmp/page.pod" <<'POD'
=head1 NAME

not this

=for briq-help begin

=over 4

=item B<file=>I<PATH> (required)

A "volume", see L<briq(1)>, or C<mem:SIZE>.

Back\slash and B<< a < b >>; E<lt>NAMEE<gt>.

=item B<io=>B<direct>

Second.

=back

=for briq-help end

nor this
POD

"$BRIQ_SOURCE/scripts/pod-to-c" "$tmp/page.pod" >"$tmp/help.h"
cat >"$tmp/show.c" <<'C'
#include <stdio.h>
#include "help.h"
int main(void)
{
    puts(BRIQ_PLUGIN_HELP);
    return 0;
}
C
"${CC:-gcc}" -Wall -Werror -o "$tmp/show" "$tmp/show.c"
expect_equal "help text" "$("$tmp/show")" 'file=PATH (required)
    A "volume", see briq(1), or mem:SIZE.
    Back\slash and a < b; <NAME>.
io=direct
    Second.'

# A page without the marks is an error, not an empty help text.
echo "=head1 NAME" >"$tmp/empty.pod"
expect_failure 255 "$BRIQ_SOURCE/scripts/pod-to-c" "$tmp/empty.pod"
expect_match "message" "$said" "*empty.pod*briq-help begin*"
