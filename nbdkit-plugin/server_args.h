/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_args.h - was nbdkit started read-only?
 *
 * nbdkit tells a plugin of its -r option connection by connection. That is too late for a plugin
 * which opens and locks its files before the first one: a volume that is only to be looked at must
 * be opened without changing it, beside other readers. So the option is looked for in the arguments
 * of the process. Where this fails to see it (an abbreviated option), nbdkit still keeps every
 * client from writing.
 */
#ifndef BRIQ_NBDKIT_PLUGIN_SERVER_ARGS_H
#define BRIQ_NBDKIT_PLUGIN_SERVER_ARGS_H

#include <stdbool.h>
#include <stdio.h>

/*
 * Is one of -r, --read-only, --readonly among nbdkit's arguments? `args` gives them as 0-terminated
 * strings, the program's name first, like /proc/PID/cmdline. False when it cannot be read.
 * Thread: owner of args. Blocks; allocates.
 */
bool briq_server_args_read_only(FILE *args);

/* The same for this process. */
bool briq_server_is_read_only(void);

#endif
