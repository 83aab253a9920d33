/* SPDX-License-Identifier: BSD-3-Clause */
/* check.c - verifying a volume that nobody has open. */
#include <errno.h>
#include <string.h>

#include "common/base/align.h"
#include "common/store/engine.h"
#include "common/store/tree.h"

static int check_pages(struct briq_store *store, const struct briq_check_options *options,
                       struct briq_check_result *result)
{
    uint64_t blocks = briq_store_blocks(store);
    for (uint64_t block = 0; block < blocks; block++) {
        int r =
            block % BRIQ_PAGE_WORDS == 0 ? briq_tree_need_page(store, briq_map_page_of(block)) : 0;
        if (r < 0 && r != -EUCLEAN)
            return r;
        if (r < 0 || !briq_word_is_valid(briq_map_word(&store->map, block))) {
            result->map_errors++;
            if (options->report != NULL)
                options->report(options->opaque, "a map page is damaged");
        }
        result->blocks_checked++;
    }
    return 0;
}

int briq_check(const char *path, const struct briq_check_options *options,
               struct briq_check_result *result, struct briq_error *err)
{
    struct briq_open_options open_options = {
        .read_only = !options->repair,
        .windows_dir = options->windows_dir,
        .device = options->device,
    };
    struct briq_store *store;
    memset(result, 0, sizeof *result);
    int r = briq_store_open(path, &open_options, err, &store);
    if (r < 0)
        return r;
    r = check_pages(store, options, result);
    int closed = briq_store_close(store);
    return r < 0 ? r : closed;
}
