/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replay.c - runs a fuzz target over files, without a fuzzer: any compiler can build it.
 *
 *   fuzz_NAME [FILE|DIRECTORY]...
 * Without arguments: the committed corpus of the target, which the Makefile unpacks from
 * tests/fuzz/corpus/NAME.tar into the directory corpus/NAME beside the program. The name of each
 * file is printed before it runs, so that the last line of a failure names its input.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/support/fuzz.h"

static int complain(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return -1;
}

static int run_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "re");
    uint8_t *bytes = malloc(size + 1);
    if (file == NULL || bytes == NULL || fread(bytes, 1, size, file) != size)
        return complain(path);
    fclose(file);
    /* Exactly as long as the input, so that the sanitizer sees a read behind its end. */
    uint8_t *input = malloc(size);
    if (size > 0)
        memcpy(input, bytes, size);
    free(bytes);
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(input, size);
    free(input);
    return 1;
}

static int run_path(const char *path);

static int run_directory(const char *path)
{
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort), done = 0;
    if (count < 0)
        return complain(path);
    for (int i = 0; i < count; i++) {
        char inside[4096];
        snprintf(inside, sizeof inside, "%s/%s", path, names[i]->d_name);
        int r = names[i]->d_name[0] == '.' || done < 0 ? 0 : run_path(inside);
        done = r < 0 ? r : done + r;
        free(names[i]);
    }
    free(names);
    return done;
}

/* How many inputs were run, or -1. */
static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return complain(path);
    return S_ISDIR(st.st_mode) ? run_directory(path) : run_file(path, (size_t)st.st_size);
}

static int run_own_corpus(const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash == NULL ? program : slash + 1;
    char path[4096];
    snprintf(path, sizeof path, "%.*scorpus/%s", (int)(name - program), program,
             strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
    return run_path(path);
}

int main(int argc, char **argv)
{
    int done = argc > 1 ? 0 : run_own_corpus(argv[0]);
    for (int i = 1; i < argc && done >= 0; i++) {
        int r = run_path(argv[i]);
        done = r < 0 ? r : done + r;
    }
    printf("%d inputs\n", done);
    return done > 0 ? 0 : 2; /* an empty corpus shows nothing */
}
