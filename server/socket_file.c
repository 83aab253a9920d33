/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/account.h"

int briq_socket_file_mode(const char *text, struct briq_socket_file *file, struct briq_error *err)
{
    size_t len = strlen(text);
    if (len < 3 || len > 4 || strspn(text, "01234567") != len || (len == 4 && text[0] != '0'))
        return briq_error_set(err, -EINVAL, "--socket-mode: \"%s\" is not a mode such as 0660",
                              text);
    file->mode = (mode_t)strtoul(text, NULL, 8);
    return 0;
}

int briq_socket_file_owner(const char *text, struct briq_socket_file *file, struct briq_error *err)
{
    const char *colon = strchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
    int r = 0;
    if (len == 0 && (colon == NULL || colon[1] == '\0'))
        return briq_error_set(err, -EINVAL, "--socket-owner: \"%s\" is not USER:GROUP", text);
    if (len > 0) {
        char *user = strndup(text, len);
        r = user == NULL ? briq_error_set(err, -ENOMEM, "out of memory")
                         : briq_account_user("--socket-owner", user, &file->uid, err);
        free(user);
    }
    if (r == 0 && colon != NULL && colon[1] != '\0')
        r = briq_account_group("--socket-owner", colon + 1, &file->gid, err);
    return r;
}

static int give_away(const struct briq_socket_file *file, const char *path, struct briq_error *err)
{
    if ((file->uid != (uid_t)-1 || file->gid != (gid_t)-1) &&
        fchownat(AT_FDCWD, path, file->uid, file->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return briq_error_set(err, -errno, "%s: cannot give the socket to its owner: %s", path,
                              strerror(errno));
    if (fchmodat(AT_FDCWD, path, file->mode, AT_SYMLINK_NOFOLLOW) < 0)
        return briq_error_set(err, -errno, "%s: cannot set the socket's mode: %s", path,
                              strerror(errno));
    return 0;
}

/* The socket's own mode is what bind() gives the file, less the umask. What the umask took away
 * comes back when the owner is right. */
int briq_socket_file_bind(const struct briq_socket_file *file, int fd,
                          const struct sockaddr_un *address, struct briq_error *err)
{
    if (fchmod(fd, file->mode) < 0 ||
        bind(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        return briq_error_set(err, -errno, "%s: cannot listen there: %s", address->sun_path,
                              strerror(errno));
    int r = give_away(file, address->sun_path, err);
    if (r < 0)
        unlink(address->sun_path);
    return r;
}
