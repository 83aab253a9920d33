/* SPDX-License-Identifier: BSD-3-Clause */
/* utf8.h - texts that come from others: names of files are any bytes, and so is what clients send. */
#ifndef BRIQ_BASE_UTF8_H
#define BRIQ_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the character in UTF-8 that begins at text, 1 to 4, all of them among the first `left`; 0:
 * there is none. Thread: any. */
unsigned briq_utf8_length(const char *text, size_t left);

/*
 * Makes `len` bytes fit to be shown on one line of a terminal or a log, in place: controls, and bytes
 * that are not UTF-8, become '?'. Thread: any.
 */
void briq_utf8_clean(char *text, size_t len);

/* How many of `len` bytes are at most `max`, and do not end inside a character. Thread: any. */
size_t briq_utf8_clip(const char *text, size_t len, size_t max);

#endif
