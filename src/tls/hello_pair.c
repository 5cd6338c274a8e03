#include "tls/hello_pair.h"

#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "tls/sha2.h"

void hello_pin(const struct hello *first, uint8_t ret[static HELLO_PIN_LEN]) {
    const struct span parts[] = {
        first->random,
        first->session_id,
        first->suites,
        first->versions,
        first->groups,
        first->sigalgs,
        first->sigalgs_cert,
        first->alpn,
        span_str(first->sni),
        span_of(&first->legacy_version, sizeof(first->legacy_version)),
        span_of(&first->record_size_limit, sizeof(first->record_size_limit)),
        span_of(&first->max_fragment_length, sizeof(first->max_fragment_length)),
    };
    uint8_t digest[HASH_LEN_MAX];
    union sha2 s;
    sha2_begin(HASH_SHA256, &s);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        sha2_add_part(HASH_SHA256, &s, parts[i]);
    sha2_end(HASH_SHA256, &s, digest);
    memcpy(ret, digest, HELLO_PIN_LEN);
}

int hello_judge_second(const struct hello *second, const uint8_t pin[static HELLO_PIN_LEN], uint16_t *ret_group,
                       struct span *ret_share) {
    uint8_t again[HELLO_PIN_LEN];
    struct rd r = rd_of(second->key_shares);
    uint16_t group = rd_u16(&r);
    struct span share = rd_vec16(&r);
    hello_pin(second, again);
    if (!rd_end(&r) || second->has_early_data || memcmp(again, pin, sizeof(again)) != 0)
        return ERR_HELLO_CHANGED;
    *ret_group = group;
    *ret_share = share;
    return 0;
}
