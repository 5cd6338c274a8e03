/* Which backend a client of a frontend reaches: HAProxy takes the first line that fits, we the most specific name, and of the
 * services that have it the one whose protocol the client speaks. */
#pragma once

#include "convert/haproxy.h"

/* Clients that a line takes. */
struct haproxy_claim {
    struct model_service *s;
    const char *name; /* as "names" has it; "*" = every client */
    const char *alpn; /* protocols apart by blanks; NULL = whatever they speak */
    unsigned line;    /* of the name */
};

struct haproxy_routes {
    struct model *m;
    const struct haproxy_file *f;
    struct haproxy_claim *claims; /* in the order of the lines */
    size_t n, cap;
    unsigned guard_line; /* a line that is lost, or clients of it, and leads to a backend that keeps some out; 0 = none */
    struct haproxy_route *services; /* one a backend and list of protocols */
};

/* The "use_backend" and "default_backend" lines of OF; each backend that is reached becomes a service with BASE's keys. The
 * backends' own lines are TAKE's. TLS: whether it ends here. False: there is none. */
typedef void (*haproxy_take_fn)(void *ctx, struct model_service *s, const struct haproxy_section *backend);
bool haproxy_take_routes(struct model *m, const struct haproxy_file *f, const struct haproxy_section *of,
                         const struct model_service *base, bool tls, haproxy_take_fn take, void *ctx);
