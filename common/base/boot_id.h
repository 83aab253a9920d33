/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * boot_id.h - tells this boot of the machine from every other one.
 *
 * Shared memory outlives a process but not a boot: what carries another boot's id is stale.
 */
#ifndef BRIQ_BASE_BOOT_ID_H
#define BRIQ_BASE_BOOT_ID_H

#include <stdint.h>

#include "common/base/attr.h"

#define BRIQ_BOOT_ID_BYTES 16

/*
 * Reads the id of the running boot. Returns 0; -errno when /proc cannot be read, -EINVAL when what
 * stands there is no uuid. ret is untouched on failure. Thread: any.
 */
int briq_boot_id(uint8_t ret[BRIQ_BOOT_ID_BYTES]) BRIQ_MUST;

#endif
