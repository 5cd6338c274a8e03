/* Servers in the stream block of nginx.conf, as services. */
#pragma once

#include <stdbool.h>

#include "convert/nginx_tree.h"

struct nginx {
    struct model *m;
    const struct nginx_directive *stream; /* the directives beside servers: a block, or the whole file */
};

/* Of addresses that are served alike. */
struct nginx_listen {
    bool tls, proxy;
};

/* Whether its first word is "on"; D may be NULL. */
bool nginx_is_on(const struct nginx_directive *d);

/* It is not taken, WHY may be NULL. */
void nginx_lose(struct nginx *x, const struct nginx_directive *d, const char *why);

/* The address of a "listen" line into S. */
void nginx_take_listen(struct nginx *x, struct model_service *s, const struct nginx_directive *d);

/* All that SERVER says but for addresses, names and target. */
void nginx_take_settings(struct nginx *x, struct model_service *s, const struct nginx_directive *server,
                         const struct nginx_listen *l);

/* Directives that nothing else looks at; S loses a guard with those that keep clients out. */
void nginx_take_others(struct nginx *x, struct model_service *s, const struct nginx_directive *block);

/* A "server" block. */
void nginx_take_server(struct nginx *x, const struct nginx_directive *server);
