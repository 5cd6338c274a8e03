#include "tls/suite.h"

#include <string.h>
#include <strings.h>

#include "base/defs.h"
#include "base/text.h"

/*
 * AES-GCM: RFC 8446 5.5 allows 2^24.5 full records, after which our own KeyUpdate is due. TLS 1.2 has none, so reaching the
 * limit ends the session: there it is the 2^32 of NIST SP 800-38D 8.3, 64 TiB in full records. ChaCha20-Poly1305 has no limit
 * that a connection could reach; a bound far below the wrap of the sequence number still keeps arithmetic simple.
 */
#define SEAL_LIMIT_GCM     (UINT64_C(1) << 24)
#define SEAL_LIMIT_GCM_1_2 (UINT64_C(1) << 32)
#define SEAL_LIMIT_CHACHA  (UINT64_C(1) << 48)

static const struct aead aeads[AEAD_COUNT] = {
    [AEAD_AES_128_GCM] = {"AES-128-GCM", 16, 4, 8, SEAL_LIMIT_GCM, SEAL_LIMIT_GCM_1_2},
    [AEAD_AES_256_GCM] = {"AES-256-GCM", 32, 4, 8, SEAL_LIMIT_GCM, SEAL_LIMIT_GCM_1_2},
    [AEAD_CHACHA20_POLY1305] = {"ChaCha20-Poly1305", 32, 12, 0, SEAL_LIMIT_CHACHA, SEAL_LIMIT_CHACHA},
};

const struct aead *aead_of(unsigned aead_id) {
    MUST(aead_id < AEAD_COUNT);
    return &aeads[aead_id];
}

uint64_t suite_seal_limit(const struct suite *s) {
    const struct aead *a = aead_of(s->aead);
    return s->version == TLS_1_3 ? a->seal_limit_1_3 : a->seal_limit_1_2;
}

size_t hash_len(unsigned hash_id) {
    return hash_id == HASH_SHA384 ? 48 : 32;
}

static const struct suite suites[] = {
    {0x1301, TLS_1_3, AEAD_AES_128_GCM, HASH_SHA256, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"},
    {0x1302, TLS_1_3, AEAD_AES_256_GCM, HASH_SHA384, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"},
    {0x1303, TLS_1_3, AEAD_CHACHA20_POLY1305, HASH_SHA256, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"},
    {0xc02b, TLS_1_2, AEAD_AES_128_GCM, HASH_SHA256, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
     "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {0xc02f, TLS_1_2, AEAD_AES_128_GCM, HASH_SHA256, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {0xc02c, TLS_1_2, AEAD_AES_256_GCM, HASH_SHA384, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
     "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {0xc030, TLS_1_2, AEAD_AES_256_GCM, HASH_SHA384, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {0xcca9, TLS_1_2, AEAD_CHACHA20_POLY1305, HASH_SHA256, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
     "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {0xcca8, TLS_1_2, AEAD_CHACHA20_POLY1305, HASH_SHA256, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
     "ECDHE-RSA-CHACHA20-POLY1305"},
};

const struct suite *suite_by_id(uint16_t id) {
    for (size_t i = 0; i < ARRAY_LEN(suites); i++)
        if (suites[i].id == id)
            return &suites[i];
    return NULL;
}

void suite_label(const struct suite *s, struct text *t) {
    if (s) /* without printf: once a handshake, and once a session */
        text_add(t, s->version == TLS_1_3 ? "TLSv1.3/" : "TLSv1.2/");
    text_add(t, s ? s->name : "passthrough");
}

const struct suite *suite_at(size_t i) {
    return i < ARRAY_LEN(suites) ? &suites[i] : NULL;
}

static const struct group groups[] = {
    {0x11ec, "X25519MLKEM768", "X25519MLKEM768", true},
    {0x001d, "x25519", "X25519", false},
    {0x0017, "secp256r1", "P-256", false},
    {0x0018, "secp384r1", "P-384", false},
    {0x0019, "secp521r1", "P-521", false},
};

const struct group *group_by_id(uint16_t id) {
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (groups[i].id == id)
            return &groups[i];
    return NULL;
}

const struct group *group_at(size_t i) {
    return i < ARRAY_LEN(groups) ? &groups[i] : NULL;
}
