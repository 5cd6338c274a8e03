/* A store for tests and fuzzers: three services, shared intermediates and keys, names of every kind. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "creds/creds_write.h"

/* No cryptography here: any function of the bytes does. */
static inline void sample_digest(struct span bytes, uint8_t ret[static CREDS_DIGEST_LEN]) {
    memset(ret, 0, CREDS_DIGEST_LEN);
    for (size_t i = 0; i < bytes.len; i++)
        ret[i % CREDS_DIGEST_LEN] = (uint8_t)(ret[i % CREDS_DIGEST_LEN] * 31 + bytes.p[i]);
}

static inline uint32_t sample_entry(struct creds_writer *w, enum creds_kind kind, const char *file, const char *key) {
    char leaf[128], spki[128];
    snprintf(leaf, sizeof(leaf), "leaf of %s", file);
    snprintf(spki, sizeof(spki), "public half of %s", key);
    const struct creds_cert chain[] = {{span_str(leaf), 1000, 2000}, {span_str("the intermediate"), 500, 5000}};
    const struct creds_new_entry e = {
        .kind = kind,
        .chain = chain,
        .nchain = 2,
        .spki = span_str(spki),
        .cert_file = file,
        .key_file = key,
        .issuer = "CN = Test CA",
        .serial = "01",
        .key_stamp = 7,
    };
    uint32_t entry;
    MUST(creds_add_entry(w, &e, &entry) == 0);
    return entry;
}

/* The earlier entry that keeps the name, or CREDS_NONE. */
static inline uint32_t sample_name(struct creds_writer *w, const char *name) {
    uint32_t other;
    MUST(creds_add_name(w, name, &other) == 0);
    return other;
}

static inline struct creds_writer *sample_writer(void) {
    struct creds_writer *w = creds_writer_new();
    MUST(w && creds_add_service(w, "web") == 0);
    sample_entry(w, CREDS_EC_P256, "/a.pem", "/a.key"); /* 0 */
    sample_name(w, "www.example.org");
    sample_name(w, "*.example.org");
    sample_entry(w, CREDS_RSA, "/b.pem", "/b.key"); /* 1: shares the first name */
    sample_name(w, "www.example.org");
    sample_entry(w, CREDS_RSA, "/c.pem", "/b.key"); /* 2: another chain of the same key */
    sample_name(w, "*.example.org");
    sample_name(w, "mail.example.net");
    MUST(creds_add_service(w, "passed") == 0);
    MUST(creds_add_service(w, "api") == 0);
    sample_entry(w, CREDS_ED25519, "/d.pem", "/d.key"); /* 3: no names */
    MUST(creds_add_client_ca(w, span_str("first CA")) == 0 && creds_add_client_ca(w, span_str("second CA")) == 0);
    MUST(creds_add_client_crl(w, span_str("a CRL")) == 0);
    return w;
}

static inline int sample_store(void) {
    struct creds_writer *w = sample_writer();
    int fd;
    MUST(creds_seal(w, sample_digest, &fd) == 0);
    creds_writer_free(w);
    return fd;
}

/* Uses all that a reader could use. */
static inline size_t sample_read(const struct creds *c) {
    size_t sum = 0;
    uint32_t chosen[CREDS_SLOTS];
    for (uint32_t i = 0; i < creds_services(c); i++) {
        sum += strlen(creds_service(c, i).name);
        for (uint32_t n = 0; n < creds_service(c, i).nclient_ca; n++)
            sum += creds_client_ca(c, i, n).len;
        (void)creds_choose(c, i, "www.example.org", chosen);
        (void)creds_choose(c, i, "x.example.org", chosen);
        for (unsigned s = 0; s < CREDS_SLOTS; s++)
            if (chosen[s] != CREDS_NONE)
                sum += creds_entry(c, chosen[s]).nchain;
    }
    for (uint32_t i = 0; i < creds_entries(c); i++) {
        struct creds_entry e = creds_entry(c, i);
        for (uint32_t n = 0; n < e.nnames; n++)
            sum += strlen(creds_name(c, i, n));
        for (uint32_t n = 0; n < e.nchain; n++)
            sum += creds_cert(c, i, n).der.p[0];
        sum += strlen(creds_key(c, e.key).file) + strlen(e.cert_file);
    }
    return sum;
}
