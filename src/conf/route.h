/*
 * Which service of an address a client belongs to. One pure function with one ordered rule, called by the handshakers for each
 * ClientHello and by the check for what no ClientHello can reach:
 *
 *   1. the name: a service that has it before one with a wildcard for it, before one that gives its default certificate to
 * names that no service has (terminating, without strict_sni), before passthrough, which knows no names;
 *   2. among equals the protocol (ALPN): one that is shared before none being agreed on, before none being shared;
 *   3. among equals the first in the file.
 *
 * So what a client wishes to speak never leads to another service than the one its name belongs to.
 */
#pragma once

#include <stdint.h>

#include "base/span.h"
#include "conf/conf.h"

enum route_match { ROUTE_NO_MATCH, ROUTE_REST, ROUTE_DEFAULT, ROUTE_WILDCARD, ROUTE_EXACT };
enum route_alpn { ROUTE_ALPN_REFUSED, ROUTE_ALPN_OPEN, ROUTE_ALPN_SHARED };

/* What a client asks for: its listener, the name in lower case ("" = none), the names of protocols (u8 length each). */
struct route_ask {
    uint16_t listener;
    const char *name;
    struct span alpn;
};

/* How a terminating service's certificates match a name that is not empty: exactly, by a wildcard, or not. */
typedef enum route_match (*route_match_fn)(void *ctx, uint16_t service, const char *name);

/* MATCH is ROUTE_NO_MATCH where all services are strict about names; the first one is to refuse the client then. */
struct route_answer {
    uint16_t service;
    enum route_match match;
    enum route_alpn alpn;
};

struct route_answer route(const struct conf *c, const struct route_ask *ask, route_match_fn match, void *ctx);

bool route_is_at(const struct conf_service *s, uint16_t listener);
