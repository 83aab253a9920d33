/* SPDX-License-Identifier: BSD-3-Clause */
/* uuid.h - random identifiers of volumes, and their usual text form. Thread: any. */
#ifndef BRIQ_BASE_UUID_H
#define BRIQ_BASE_UUID_H

#include <stdint.h>

#include "common/base/attr.h"

#define BRIQ_UUID_BYTES    16
#define BRIQ_UUID_TEXT_MAX 37 /* 36 characters and the end */

/* A new random (version 4) uuid. Returns 0, or -errno when the kernel has no random bytes to give.
 */
int briq_uuid_random(uint8_t ret[BRIQ_UUID_BYTES]) BRIQ_MUST;

/* Writes "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", in lower case. Returns text. */
const char *briq_uuid_format(const uint8_t uuid[BRIQ_UUID_BYTES], char text[BRIQ_UUID_TEXT_MAX]);

/*
 * Reads that form, in either case; nothing may precede or follow it. Returns 0, or -EINVAL and
 * leaves ret untouched.
 */
int briq_uuid_parse(const char *text, uint8_t ret[BRIQ_UUID_BYTES]) BRIQ_MUST;

#endif
