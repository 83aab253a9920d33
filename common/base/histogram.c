/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/base/histogram.h"

void briq_histogram_merge(struct briq_histogram *to, const struct briq_histogram *from)
{
    for (unsigned i = 0; i < BRIQ_HISTOGRAM_BUCKETS; i++)
        briq_counter_add(&to->counts[i], briq_counter_get(&from->counts[i]));
    briq_counter_add(&to->sum, briq_counter_get(&from->sum));
    briq_counter_max(&to->max, briq_counter_get(&from->max));
}

uint64_t briq_histogram_count(const struct briq_histogram *h)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < BRIQ_HISTOGRAM_BUCKETS; i++)
        count += briq_counter_get(&h->counts[i]);
    return count;
}

uint64_t briq_histogram_at_most(const struct briq_histogram *h, uint64_t bound)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= briq_histogram_bucket(bound); i++)
        count += briq_counter_get(&h->counts[i]);
    return count;
}

/* The place, from 1 on, of that value in the order of all. */
static uint64_t rank_of(uint64_t count, double q)
{
    double exact = q * (double)count;
    uint64_t rank = exact > 0 ? (uint64_t)exact : 0;
    if ((double)rank < exact)
        rank++;
    if (rank == 0)
        return 1;
    return rank < count ? rank : count;
}

uint64_t briq_histogram_quantile(const struct briq_histogram *h, double q)
{
    uint64_t count = briq_histogram_count(h), max = briq_counter_get(&h->max), seen = 0;
    if (count == 0)
        return 0;
    uint64_t rank = rank_of(count, q);
    for (unsigned i = 0; i + 1 < BRIQ_HISTOGRAM_BUCKETS; i++) {
        seen += briq_counter_get(&h->counts[i]);
        uint64_t bound = briq_histogram_bound(i);
        if (seen >= rank)
            return bound < max ? bound : max;
    }
    return max;
}
