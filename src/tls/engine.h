/*
 * An AEAD engine: the library that seals and opens records, as a constant descriptor and a few functions, one file each.
 *
 * A working context belongs to the process, not to a session: it is made once per AEAD and direction, loaded with a raw key
 * for a batch of records, and reused for the next session. So an idle session costs its raw key and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "tls/suite.h"

struct engine {
    const char *name;

    /* Whether this CPU and library can run it, answers to known questions included. */
    bool (*usable)(void);

    /* A context for one AEAD and one direction; NULL when out of memory. */
    void *(*ctx_new)(enum aead_id aead, bool seal);
    void (*ctx_free)(void *ctx);

    /* Loads a raw key of aead_of(aead)->key_len bytes. ERR_CRYPTO. */
    int (*set_key)(void *ctx, const uint8_t *key);

    /* Encrypts LEN bytes in place and writes the tag. ERR_CRYPTO. */
    int (*seal)(void *ctx, const uint8_t nonce[static AEAD_NONCE_LEN], struct span aad, uint8_t *data, size_t len,
                uint8_t tag[static AEAD_TAG_LEN]);

    /* Decrypts LEN bytes in place. ERR_BAD_MAC when the tag is wrong (the data is then of no meaning), ERR_CRYPTO. */
    int (*open)(void *ctx, const uint8_t nonce[static AEAD_NONCE_LEN], struct span aad, uint8_t *data, size_t len,
                const uint8_t tag[static AEAD_TAG_LEN]);
};

extern const struct engine engine_libcrypto;
#ifdef HAVE_IPSEC_MB
extern const struct engine engine_mb;
#endif

/* The engine of that name ("auto" = the fastest usable one); NULL when unknown or not usable here. */
const struct engine *engine_find(const char *name);

/* Known-answer test of all AEADs through all functions of the engine (published vectors). For usable(). */
bool engine_known_answers(const struct engine *e);

/*
 * Whether the engine seals to the same bytes as REFERENCE, and opens them, at lengths that take each path of wide code; the
 * published vectors are too short for that. For usable().
 */
bool engine_agrees(const struct engine *e, const struct engine *reference);

/* The working contexts of one process, made on first use. */
struct engine_contexts {
    const struct engine *engine;
    void *seal[AEAD_COUNT];
    void *open[AEAD_COUNT];
    uint8_t loaded[2]; /* bits by AEAD: a key is in its context; for opening, for sealing */
};

void engine_contexts_init(struct engine_contexts *c, const struct engine *engine);
void engine_contexts_fini(struct engine_contexts *c);

/* No key of a session stays in a context: each gets one of zeros. To be called when sessions may have ended, now and then. */
void engine_contexts_forget(struct engine_contexts *c);

/* A context with KEY loaded, owned by C; NULL when the library failed. */
void *engine_contexts_load(struct engine_contexts *c, enum aead_id aead, bool seal, const uint8_t *key);
