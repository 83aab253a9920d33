/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbdkit_preload.c - what nbdkit needs to run a plugin that was built with a sanitizer.
 *
 * Only the plugin is instrumented, so the sanitizer's library is preloaded into nbdkit, and this
 * one beside it, which mends two things that the preloading breaks.
 */
#include <locale.h>
#include <stdlib.h>

void freelocale(locale_t locale);

/* The shell behind `nbdkit --run` does not survive the preload: children are started without it. */
__attribute__((constructor)) static void forget_preload(void)
{
    unsetenv("LD_PRELOAD");
}

/*
 * GnuTLS's p11-kit frees a locale in its destructor. With a sanitizer preloaded, and after any call
 * of strerror(), that waits for ever on a lock inside the C library: nbdkit would print its error
 * and never exit. A locale that is not freed at exit hurts nobody.
 */
void freelocale(locale_t locale)
{
    (void)locale;
}
