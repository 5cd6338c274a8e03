/*
 * Which service of an address a client belongs to: one ordered rule, used by the handshakers for each ClientHello, by the check
 * for what no ClientHello can reach, and by `explain`.
 *
 *   1. The name decides who owns the client. A service claims names by patterns; of the patterns that take the client's name
 * the most specific one counts alone: the name itself, then the longest suffix ("*.suffix", one label, before "**.suffix", any
 *      number of labels), then "*". A client without a name belongs to who claims "", then to "*".
 *   2. Of one pattern, names given in the configuration outweigh names that follow from certificates, and those outweigh what
 *      is left to passthrough.
 *   3. Among equals the protocol (ALPN): the first one in the client's list that some of them speaks, before none being agreed
 *      on. Who demands a protocol that the client does not offer does not fit.
 *   4. What is still equal goes to the service that was added first; the check reports it.
 *
 * Nobody takes a name that belongs to another service: where no owner fits, the client is refused.
 * The cost of a look-up depends on the client's name and protocols, not on the number of services.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define ROUTE_NOBODY UINT16_MAX

enum route_kind { ROUTE_EXACT, ROUTE_LABEL, ROUTE_DEEP, ROUTE_ALL, ROUTE_NAMELESS };
enum route_weight { ROUTE_REST, ROUTE_IMPLIED, ROUTE_GIVEN };
enum route_fit { ROUTE_UNFIT, ROUTE_OPEN, ROUTE_SHARED };

/* "*.example.org": ROUTE_LABEL and "example.org". The name borrows the text; it is empty for "*" and "". */
struct route_pattern {
    enum route_kind kind;
    struct span name;
};

struct route_pattern route_pattern_of(const char *text);

/* What a client asks for: its listener, the name in lower case ("" = none), the names of protocols (u8 length each). */
struct route_ask {
    uint16_t listener;
    const char *name;
    struct span alpn;
};

/* Who owns the client, by which pattern (borrowed from the claim), and whether they can speak with each other. */
struct route_answer {
    uint16_t service; /* ROUTE_NOBODY: no pattern takes the name */
    enum route_weight weight;
    enum route_fit fit;  /* ROUTE_UNFIT: the name is this service's, and no owner of it has a protocol for the client */
    const char *pattern; /* NULL with ROUTE_NOBODY */
};

/* What a service speaks. DEMANDED: a client must offer one of them. */
struct route_protocols {
    const char *const *list;
    size_t n;
    bool demanded;
};

struct route_table;

/* NULL when out of memory. */
struct route_table *route_table_new(uint16_t listeners, uint16_t services);
void route_table_free(struct route_table *t);

/* The protocols of a service, borrowed, before it claims anything. */
void route_table_speak(struct route_table *t, uint16_t service, struct route_protocols p);

/* SERVICE claims PATTERN (lower case, borrowed) at LISTENER; all claims of one service come one after the other. ERR_NOMEM. */
MUST_CHECK int route_table_claim(struct route_table *t, uint16_t listener, uint16_t service, const char *pattern,
                                 enum route_weight weight);

struct route_answer route_find(const struct route_table *t, const struct route_ask *ask);

/* As route_find(), for clients whose name PATTERN takes and no more specific one. */
struct route_answer route_find_pattern(const struct route_table *t, uint16_t listener, const char *pattern, struct span alpn);

/* Every claim of PATTERN itself, in no order that means anything. */
typedef void (*route_claim_fn)(void *ctx, const struct route_answer *claim);
void route_each_rival(const struct route_table *t, uint16_t listener, const char *pattern, route_claim_fn take, void *ctx);
