/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/loop.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Other tests look for free devices at the same time: one found may be taken a moment later. */
#define ATTEMPTS 16

static int attach_free_one(int control, int file, char name[TEST_LOOP_NAME_MAX])
{
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0)
        return -1;
    snprintf(name, TEST_LOOP_NAME_MAX, "/dev/loop%d", number);
    int loop = open(name, O_RDWR | O_CLOEXEC);
    struct loop_config config = {.fd = (unsigned)file, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) < 0) {
        close(loop);
        return -1;
    }
    return loop;
}

int test_loop_open(const char *backing, char name[TEST_LOOP_NAME_MAX])
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return -1;
    int loop = -1, file = open(backing, O_RDWR | O_CLOEXEC);
    for (int i = 0; i < ATTEMPTS && file >= 0 && loop < 0; i++)
        loop = attach_free_one(control, file, name);
    if (file >= 0)
        close(file);
    close(control);
    return loop;
}

void test_loop_close(int loop)
{
    close(loop); /* it clears itself with its last descriptor, also when the test was killed */
}
