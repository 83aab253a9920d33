/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * prng.h - splitmix64: small, seedable, repeatable on every machine. Not for secrets.
 * Thread: the owner of the state.
 */
#ifndef BRIQ_BASE_PRNG_H
#define BRIQ_BASE_PRNG_H

#include <stdint.h>

struct briq_prng {
    uint64_t state; /* any seed, 0 included */
};

static inline uint64_t briq_prng_next(struct briq_prng *prng)
{
    uint64_t z = (prng->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, bound); bound above 0. The bias of the modulus does not matter to its users. */
static inline uint64_t briq_prng_below(struct briq_prng *prng, uint64_t bound)
{
    return briq_prng_next(prng) % bound;
}

#endif
