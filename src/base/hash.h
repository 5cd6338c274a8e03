/*
 * SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"): a keyed hash for tables whose keys outsiders
 * choose, so that nobody can aim for collisions.
 */
#pragma once

#include <stdint.h>

#include "base/span.h"

struct hash_key {
    uint64_t k0, k1;
};

uint64_t hash_bytes(const struct hash_key *key, struct span bytes);
