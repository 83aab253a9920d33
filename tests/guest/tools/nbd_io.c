/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd_io - moves bytes between an NBD export and a file.
 *
 *   nbd_io write URI OFFSET <FILE        until the end of the file
 *   nbd_io read URI OFFSET BYTES >FILE
 */
#include <errno.h>
#include <libnbd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (64u << 10)

static int complain(const char *what)
{
    fprintf(stderr, "nbd_io: %s: %s\n", what, nbd_get_error());
    return 1;
}

static int write_all(struct nbd_handle *nbd, uint64_t off)
{
    char piece[PIECE];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) {
        if (nbd_pwrite(nbd, piece, n, off, 0) < 0)
            return complain("write");
        off += n;
    }
    return 0;
}

static int read_all(struct nbd_handle *nbd, uint64_t off, uint64_t bytes)
{
    char piece[PIECE];
    while (bytes > 0) {
        size_t n = bytes < sizeof piece ? (size_t)bytes : sizeof piece;
        if (nbd_pread(nbd, piece, n, off, 0) < 0)
            return complain("read");
        if (fwrite(piece, 1, n, stdout) != n)
            return 1;
        off += n;
        bytes -= n;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 4 || (strcmp(argv[1], "read") == 0) != (argc == 5)) {
        fprintf(stderr, "usage: nbd_io write URI OFFSET, or nbd_io read URI OFFSET BYTES\n");
        return 2;
    }
    uint64_t off = strtoull(argv[3], NULL, 10);
    struct nbd_handle *nbd = nbd_create();
    if (nbd == NULL || nbd_connect_uri(nbd, argv[2]) < 0)
        return complain(argv[2]);
    int code = argc == 5 ? read_all(nbd, off, strtoull(argv[4], NULL, 10)) : write_all(nbd, off);
    if (nbd_shutdown(nbd, 0) < 0 && code == 0)
        code = complain("disconnect");
    nbd_close(nbd);
    return code;
}
