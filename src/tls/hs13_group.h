/* Key exchange groups by EVP: our share of one connection and the secret, in one call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define HS13_SHARE_MAX  1120 /* X25519MLKEM768: 1088 + 32 */
#define HS13_SECRET_MAX 66   /* P-521; X25519MLKEM768 has 64 */

struct hs13_share {
    uint16_t len;
    uint16_t secret_len;
    uint8_t public[HS13_SHARE_MAX];
    uint8_t secret[HS13_SECRET_MAX]; /* to be wiped */
};

/* Whether libcrypto has this group, and we know it. */
bool hs13_group_there(uint16_t group);

/* Whether the exchange of every group that libcrypto has leads to the secret that the other side comes to. */
bool hs13_groups_selftest(void);

/*
 * Makes a fresh key, never used again, and the secret with PEER, the client's share. ERR_KEY_SHARE: no share of this group
 * (length, point not on the curve, all-zero secret). ERR_CRYPTO.
 */
MUST_CHECK int hs13_exchange(uint16_t group, struct span peer, struct hs13_share *ret);
