/* The old names are marked as deprecated; see sha2.h for why they are used all the same. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "tls/sha2.h"

#include <string.h>

#include "base/secret.h"

#define BLOCK_MAX SHA512_CBLOCK

void sha2_begin(unsigned hash_id, union sha2 *s) {
    if (hash_id == HASH_SHA384)
        (void)SHA384_Init(&s->s512);
    else
        (void)SHA256_Init(&s->s256);
}

void sha2_add(unsigned hash_id, union sha2 *s, const void *p, size_t n) {
    if (hash_id == HASH_SHA384)
        (void)SHA384_Update(&s->s512, p, n);
    else
        (void)SHA256_Update(&s->s256, p, n);
}

void sha2_add_part(unsigned hash_id, union sha2 *s, struct span part) {
    const uint8_t len[] = {(uint8_t)(part.len >> 24), (uint8_t)(part.len >> 16), (uint8_t)(part.len >> 8), (uint8_t)part.len};
    sha2_add(hash_id, s, len, sizeof(len));
    if (part.len)
        sha2_add(hash_id, s, part.p, part.len);
}

void sha2_end(unsigned hash_id, union sha2 *s, uint8_t out[static HASH_LEN_MAX]) {
    if (hash_id == HASH_SHA384)
        (void)SHA384_Final(out, &s->s512);
    else
        (void)SHA256_Final(out, &s->s256);
}

/* Begins a hash with the padded key, each byte crossed with MASK. */
static void begin_with_key(unsigned hash_id, union sha2 *s, struct span key, uint8_t mask) {
    uint8_t pad[BLOCK_MAX];
    size_t block = hash_id == HASH_SHA384 ? SHA512_CBLOCK : SHA256_CBLOCK;
    memset(pad, mask, block);
    for (size_t i = 0; i < key.len; i++)
        pad[i] ^= key.p[i];
    sha2_begin(hash_id, s);
    sha2_add(hash_id, s, pad, block);
    secret_wipe(pad, sizeof(pad));
}

void sha2_hmac(unsigned hash_id, struct span key, const struct span *parts, size_t nparts, uint8_t out[static HASH_LEN_MAX]) {
    uint8_t digest[HASH_LEN_MAX], short_key[HASH_LEN_MAX];
    size_t len = hash_len(hash_id);
    union sha2 s;
    if (key.len > (hash_id == HASH_SHA384 ? SHA512_CBLOCK : SHA256_CBLOCK)) {
        sha2_begin(hash_id, &s);
        sha2_add(hash_id, &s, key.p, key.len);
        sha2_end(hash_id, &s, short_key);
        key = span_of(short_key, len);
    }
    begin_with_key(hash_id, &s, key, 0x36);
    for (size_t i = 0; i < nparts; i++)
        sha2_add(hash_id, &s, parts[i].p, parts[i].len);
    sha2_end(hash_id, &s, digest);
    begin_with_key(hash_id, &s, key, 0x5c);
    sha2_add(hash_id, &s, digest, len);
    sha2_end(hash_id, &s, out);
    secret_wipe(digest, sizeof(digest));
    secret_wipe(short_key, sizeof(short_key));
    secret_wipe(&s, sizeof(s));
}
