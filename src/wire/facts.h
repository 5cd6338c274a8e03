/*
 * What is known of a session: gathered by the handshaker, carried in the hand-off message, told to the backend in the PROXY
 * header and to the operator in the log event. One struct, one packing, so that no two places can name things differently.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/rd.h"
#include "base/wr.h"

#define FACTS_UNIQUE_ID_LEN 16
#define FACTS_PACKED_MAX    1024
#define FACTS_JA4_MAX       36

struct facts {
    uint8_t unique_id[FACTS_UNIQUE_ID_LEN];
    uint16_t service;     /* index into conf.services */
    struct addr client;   /* as told by the PROXY header when one is accepted */
    struct addr peer;     /* the other end of the TCP connection, when it is another than CLIENT; else AF_UNSPEC */
    struct addr local;    /* the address the client reached */
    uint16_t tls_version; /* 0 = passthrough, or the handshake did not come so far */
    uint16_t suite;
    uint16_t group;
    bool resumed;
    uint64_t start_wall_us;
    uint64_t start_mono_us; /* TCP connection accepted */
    uint32_t handshake_us;
    struct span sni;  /* at most 255 bytes */
    struct span alpn; /* at most 255 bytes */
    struct span ja4;  /* at most FACTS_JA4_MAX bytes */
};

void facts_pack(struct wr *w, const struct facts *f);

/* Spans borrow what R reads. An overrun or a value out of range leaves R bad. */
void facts_unpack(struct rd *r, struct facts *ret);
