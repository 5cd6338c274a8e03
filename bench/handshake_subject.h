/*
 * One TLS handshake in memory, with libssl's client on the other side and a server that is libssl as it comes, or with one of
 * our savings after the other, up to what the product runs. Only the server's work is timed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

/* Each has all savings of the ones before. */
enum variant {
    VARIANT_PLAIN,       /* libssl as servers use it: memory BIOs, two tickets, no key log: it cannot be left */
    VARIANT_KEY_LOG,     /* secrets from the key-log callback, so that it can be left */
    VARIANT_ONE_TICKET,  /* one ticket instead of two */
    VARIANT_TICKET_KEYS, /* tickets under keys of ours */
    VARIANT_FEEDING_BIO, /* our BIO, one record at a time */
    VARIANT_LEAN_KDF,    /* TLS13-KDF of our provider */
    VARIANT_NO_KEY_LOG,  /* secrets from the provider alone */
    VARIANT_PRODUCT,     /* src/tls: our reading of the hello, JA4, policy, certificate choice, leaving libssl */
    VARIANT_SIGNER,      /* the same, with the key in a process of its own on the same CPU */
    VARIANT_OWN,         /* src/tls/hs13: no libssl, 1.3 only; the key in this process */
    VARIANT_PRIMITIVES,  /* X25519 and the signature alone: no handshake can cost less */
    VARIANT_COUNT,
};

struct scenario {
    const char *name;
    const char *key; /* as make_key() takes it */
    uint16_t version;
    bool resumed;
};

struct subject;

/* Aborts when anything fails: there is nothing to measure then. COLD_KB of other code run before each of the server's steps. */
struct subject *subject_new(enum variant variant, const struct scenario *scenario, size_t cold_kb);
void subject_free(struct subject *s);

/* Whether VARIANT can do it. */
bool subject_can(enum variant variant, const struct scenario *scenario);

/* Does one handshake; the nanoseconds the server took. */
uint64_t subject_handshake(struct subject *s);
