/* SPDX-License-Identifier: BSD-3-Clause */
/* boot_id.c - see boot_id.h; the kernel draws the id at boot and shows it as a uuid. */
#include "common/base/boot_id.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/base/uuid.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

static_assert(BRIQ_BOOT_ID_BYTES == BRIQ_UUID_BYTES, "a boot id is a uuid");

int briq_boot_id(uint8_t ret[BRIQ_BOOT_ID_BYTES])
{
    int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;

    char text[BRIQ_UUID_TEXT_MAX];
    ssize_t n = read(fd, text, sizeof text - 1); /* its newline is left behind */
    int r = n < 0 ? -errno : 0;
    close(fd);
    if (r < 0)
        return r;
    text[n] = '\0';
    return briq_uuid_parse(text, ret);
}
