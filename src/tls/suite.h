/*
 * The cipher suites we take: AEAD with (EC)DHE only, TLS 1.2 and 1.3. One constant table; everything else about a suite
 * (key sizes, limits, hash) follows from it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

#define TLS_1_2 0x0303
#define TLS_1_3 0x0304

enum aead_id { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305, AEAD_COUNT };
enum hash_id { HASH_SHA256, HASH_SHA384 };

/* What an AEAD looks like on the wire and how far one key may be used. */
struct aead {
    const char *name;
    uint8_t key_len;
    uint8_t tls12_fixed_iv_len; /* from the key block (RFC 5288 3, RFC 7905 2) */
    uint8_t tls12_explicit_len; /* nonce bytes at the start of each TLS 1.2 record */
    uint64_t seal_limit_1_3;    /* records one key may seal before a KeyUpdate (RFC 8446 5.5) */
    uint64_t seal_limit_1_2;    /* records one session may seal: TLS 1.2 has no KeyUpdate (NIST SP 800-38D 8.3) */
};

#define AEAD_TAG_LEN   16
#define AEAD_NONCE_LEN 12
#define AEAD_KEY_MAX   32
#define HASH_LEN_MAX   48

struct suite {
    uint16_t id;
    uint16_t version; /* TLS_1_2 or TLS_1_3 */
    uint8_t aead;     /* enum aead_id */
    uint8_t hash;     /* enum hash_id */
    const char *name; /* IANA registry */
    const char *openssl_name;
};

/* Constant descriptor of an AEAD. */
const struct aead *aead_of(unsigned aead_id);

/* Bytes of a hash's output. */
size_t hash_len(unsigned hash_id);

/* NULL when it is none of ours. */
const struct suite *suite_by_id(uint16_t id);

/* "TLSv1.3/TLS_AES_128_GCM_SHA256", as counters have it; "passthrough" for NULL. */
void suite_label(const struct suite *s, struct text *t);

/* Records that one key of this suite may seal. */
uint64_t suite_seal_limit(const struct suite *s);

/* All suites in our order of preference; NULL past the end. */
const struct suite *suite_at(size_t i);

/* Key exchange groups: the same two look-ups. IANA "TLS Supported Groups". */
struct group {
    uint16_t id;
    const char *name;         /* IANA registry */
    const char *openssl_name; /* for SSL_CTX_set1_groups_list */
    bool hybrid;              /* holds against quantum computers, too: worth a round trip more */
};
const struct group *group_by_id(uint16_t id);
const struct group *group_at(size_t i);
