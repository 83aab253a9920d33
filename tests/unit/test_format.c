/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_format.c - docs/format.md and common/store/format.h say the same: every table row of a
 * structure is held against offsetof and sizeof, and every field has its row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/store/format.h"

struct field {
    const char *name;
    size_t offset, size;
};

#define FIELD(type, member)                                                                        \
    {                                                                                              \
#member, offsetof(struct type, member), sizeof(((struct type *)0)->member)                 \
    }

static const struct field superblock[] = {
    FIELD(briq_fmt_superblock, magic),
    FIELD(briq_fmt_superblock, version),
    FIELD(briq_fmt_superblock, bytes),
    FIELD(briq_fmt_superblock, features_compat),
    FIELD(briq_fmt_superblock, features_ro),
    FIELD(briq_fmt_superblock, features_incompat),
    FIELD(briq_fmt_superblock, uuid),
    FIELD(briq_fmt_superblock, generation),
    FIELD(briq_fmt_superblock, incarnation),
    FIELD(briq_fmt_superblock, block_shift),
    FIELD(briq_fmt_superblock, granule_shift),
    FIELD(briq_fmt_superblock, seg_shift),
    FIELD(briq_fmt_superblock, window_shift),
    FIELD(briq_fmt_superblock, streams),
    FIELD(briq_fmt_superblock, clean),
    FIELD(briq_fmt_superblock, preallocated),
    FIELD(briq_fmt_superblock, accel),
    FIELD(briq_fmt_superblock, logical_bytes),
    FIELD(briq_fmt_superblock, limit_bytes),
    FIELD(briq_fmt_superblock, seg_first),
    FIELD(briq_fmt_superblock, seg_end),
    FIELD(briq_fmt_superblock, checkpoint_seq),
    FIELD(briq_fmt_superblock, segseq),
    FIELD(briq_fmt_superblock, boot_id),
    FIELD(briq_fmt_superblock, windows_in_file),
    FIELD(briq_fmt_superblock, reserved0),
    FIELD(briq_fmt_superblock, mapped_blocks),
    FIELD(briq_fmt_superblock, fill_blocks),
    FIELD(briq_fmt_superblock, zero_blocks),
    FIELD(briq_fmt_superblock, data_granules),
    FIELD(briq_fmt_superblock, meta_granules),
    FIELD(briq_fmt_superblock, base_uuid),
    FIELD(briq_fmt_superblock, base_path_hash),
    FIELD(briq_fmt_superblock, volume_id),
    FIELD(briq_fmt_superblock, reserved1),
    FIELD(briq_fmt_superblock, heads),
    FIELD(briq_fmt_superblock, map_roots),
    FIELD(briq_fmt_superblock, seg_roots),
    FIELD(briq_fmt_superblock, reserved2),
    FIELD(briq_fmt_superblock, xxh64),
};

static const struct field head[] = {
    FIELD(briq_fmt_head, seg),      FIELD(briq_fmt_head, next_seg), FIELD(briq_fmt_head, off),
    FIELD(briq_fmt_head, reserved), FIELD(briq_fmt_head, segseq),
};

static const struct field chunk[] = {
    FIELD(briq_fmt_chunk, magic),       FIELD(briq_fmt_chunk, cap),
    FIELD(briq_fmt_chunk, nrec),        FIELD(briq_fmt_chunk, uuid_lo),
    FIELD(briq_fmt_chunk, incarnation), FIELD(briq_fmt_chunk, stream),
    FIELD(briq_fmt_chunk, kind),        FIELD(briq_fmt_chunk, reserved),
    FIELD(briq_fmt_chunk, segseq),      FIELD(briq_fmt_chunk, seg),
    FIELD(briq_fmt_chunk, off),         FIELD(briq_fmt_chunk, len),
    FIELD(briq_fmt_chunk, next_seg),    FIELD(briq_fmt_chunk, durable_seq),
    FIELD(briq_fmt_chunk, xxh64),
};

static const struct field record[] = {
    FIELD(briq_fmt_record, seq),
    FIELD(briq_fmt_record, where),
    FIELD(briq_fmt_record, arg),
    FIELD(briq_fmt_record, check),
};

static const struct field page[] = {
    FIELD(briq_fmt_page, vary),
    FIELD(briq_fmt_page, base),
    FIELD(briq_fmt_page, used),
    FIELD(briq_fmt_page, reserved),
};

static const struct field segment[] = {
    FIELD(briq_fmt_segment, segseq),  FIELD(briq_fmt_segment, live),
    FIELD(briq_fmt_segment, state),   FIELD(briq_fmt_segment, kind),
    FIELD(briq_fmt_segment, on_host), FIELD(briq_fmt_segment, reserved),
};

/* The tables of the document with an offset column, in its order. */
static const struct {
    const char *name;
    const struct field *fields;
    size_t count, size;
} tables[] = {
    {"superblock", superblock, BRIQ_COUNT_OF(superblock), sizeof(struct briq_fmt_superblock)},
    {"head", head, BRIQ_COUNT_OF(head), sizeof(struct briq_fmt_head)},
    {"chunk", chunk, BRIQ_COUNT_OF(chunk), sizeof(struct briq_fmt_chunk)},
    {"record", record, BRIQ_COUNT_OF(record), sizeof(struct briq_fmt_record)},
    {"extent", NULL, 0, 0}, /* its payload has no fixed size */
    {"packed map page", page, BRIQ_COUNT_OF(page), sizeof(struct briq_fmt_page)},
    {"segment", segment, BRIQ_COUNT_OF(segment), sizeof(struct briq_fmt_segment)},
};

static FILE *open_document(void)
{
    const char *source = getenv("BRIQ_SOURCE");
    char path[4096];
    snprintf(path, sizeof path, "%s/docs/format.md", source != NULL ? source : ".");
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("%s is not there", path);
    return f;
}

/* Skips to the next table that has an offset column. */
static void find_table(FILE *f)
{
    char line[1024];
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "| offset ", 9) == 0) {
            assert_non_null(fgets(line, sizeof line, f)); /* the rule below the titles */
            return;
        }
    fail_msg("a table is missing");
}

static void compare_row(const char *table, const char *line, const struct field *field)
{
    size_t offset, size;
    char name[64];
    if (sscanf(line, "| %zu | %zu | %63s |", &offset, &size, name) != 3)
        fail_msg("%s: not a row of a field: %s", table, line);
    if (strcmp(name, field->name) != 0 || offset != field->offset || size != field->size)
        fail_msg("%s: the document has %s at %zu with %zu bytes, the code %s at %zu with %zu",
                 table, name, offset, size, field->name, field->offset, field->size);
}

static void every_field_stands_in_the_document(void **state)
{
    (void)state;
    char line[1024];
    FILE *f = open_document();
    for (size_t t = 0; t < BRIQ_COUNT_OF(tables); t++) {
        size_t end = 0;
        find_table(f);
        for (size_t i = 0; i < tables[t].count; i++) {
            assert_non_null(fgets(line, sizeof line, f));
            compare_row(tables[t].name, line, &tables[t].fields[i]);
            assert_int_equal(tables[t].fields[i].offset, end);
            end += tables[t].fields[i].size;
        }
        assert_int_equal(end, tables[t].size);
        if (tables[t].count > 0) {
            assert_non_null(fgets(line, sizeof line, f));
            assert_int_equal(line[0], '\n'); /* and no row more */
        }
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_stands_in_the_document),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
