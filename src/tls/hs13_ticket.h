/* What a ticket of ours says (tickets.h seals it): the key of the next session, and what it is bound to. */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "tls/client_id.h"
#include "tls/suite.h"
#include "tls/ticket_bind.h"
#include "tls/tickets.h"

struct hs13_ticket {
    uint8_t binding[TICKET_BIND_LEN];
    unsigned hash; /* HASH_SHA256 or HASH_SHA384 */
    uint8_t psk[HASH_LEN_MAX];
    int64_t issued_s;
    int64_t full_s; /* of the full handshake at the beginning of all renewals */
    struct client_id client;
    uint16_t cert_len; /* the client's certificate, for services whose backends get it; 0 = not kept */
    uint8_t cert[CLIENT_CERT_MAX];
};

#define HS13_TICKET_CONTENT_MAX (2 + TICKET_BIND_LEN + HASH_LEN_MAX + 2 * 8 + 2 + CLIENT_ID_PACKED + 2 + CLIENT_CERT_MAX)
#define HS13_TICKET_MAX         (HS13_TICKET_CONTENT_MAX + TICKETS_SEALED_MORE)

/* Into TO, sealed. ERR_CRYPTO. */
MUST_CHECK int hs13_ticket_seal(struct tickets *keys, const struct hs13_ticket *t, uint8_t to[static HS13_TICKET_MAX],
                                size_t *ret_len);

/* ERR_NOT_FOUND: not ours. ERR_CRYPTO. ROOM is for the opened bytes and wiped; the caller wipes RET. */
MUST_CHECK int hs13_ticket_open(struct tickets *keys, struct span ticket, uint8_t room[static HS13_TICKET_MAX],
                                struct hs13_ticket *ret);

/* Whether it can be resumed now, by a client that may come in under BINDING with keys of HASH. */
bool hs13_ticket_fits(const struct hs13_ticket *t, unsigned hash, const uint8_t binding[static TICKET_BIND_LEN], int64_t now_s);
