#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* One allocation of the arena; freed all together. */
struct conf_arena {
    struct conf_arena *next;
    max_align_t data[];
};

void *conf_try_alloc(struct conf *c, size_t n) {
    struct conf_arena *a = calloc(1, sizeof(*a) + n);
    if (!a)
        return NULL;
    a->next = c->arena;
    c->arena = a;
    return a->data;
}

void *conf_alloc(struct conf *c, size_t n) {
    void *p = conf_try_alloc(c, n);
    MUST(p);
    return p;
}

const char *conf_strdup(struct conf *c, const char *s) {
    size_t n = strlen(s) + 1;
    return memcpy(conf_alloc(c, n), s, n);
}

/* The wider of two limits, 0 being none. */
static uint64_t wider(uint64_t a, uint64_t b) {
    return a && b ? MAX(a, b) : 0;
}

static void join_listener(struct conf_listener *l, const struct conf_service *s, uint16_t service) {
    if (l->nservices == 0) {
        l->proxy_accept = s->proxy_accept;
        l->proxy_trust = s->proxy_trust;
        l->nproxy_trust = s->nproxy_trust;
        l->starttls = s->starttls;
        l->handshake_ms = s->handshake_ms;
        l->keepalive_ms = s->keepalive_ms;
        l->resets = false;
        l->max_sessions_per_client = s->max_sessions_per_client;
        l->max_handshakes_per_client = s->max_handshakes_per_client;
        l->fleet_limits = true;
    }
    l->fleet_limits = l->fleet_limits && s->fleet_limits;
    l->max_sessions_per_client = wider(l->max_sessions_per_client, s->max_sessions_per_client);
    l->max_handshakes_per_client = wider(l->max_handshakes_per_client, s->max_handshakes_per_client);
    l->resets = l->resets || s->unknown == UNKNOWN_RESET;
    l->services[l->nservices++] = service;
}

static uint16_t find_service(const struct conf *c, const char *name) {
    for (size_t i = 0; i < c->nservices; i++)
        if (strcmp(c->services[i].name, name) == 0)
            return (uint16_t)i;
    return CONF_NO_SERVICE;
}

int conf_link_listeners(struct conf *c) {
    for (size_t i = 0; i < c->nlisteners; i++)
        c->listeners[i].nservices = 0;
    for (size_t i = 0; i < c->nservices; i++) /* how many each has */
        for (size_t k = 0; k < c->services[i].nlisteners; k++)
            c->listeners[c->services[i].listeners[k]].nservices++;
    for (size_t i = 0; i < c->nlisteners; i++) {
        struct conf_listener *l = &c->listeners[i];
        l->services = conf_try_alloc(c, l->nservices * sizeof(*l->services));
        l->nservices = 0;
        if (!l->services)
            return ERR_NOMEM;
        l->fallback = l->fallback_name ? find_service(c, l->fallback_name) : CONF_NO_SERVICE;
    }
    for (size_t i = 0; i < c->nservices; i++)
        for (size_t k = 0; k < c->services[i].nlisteners; k++)
            join_listener(&c->listeners[c->services[i].listeners[k]], &c->services[i], (uint16_t)i);
    return 0;
}

bool conf_has_fleet_limits(const struct conf *c) {
    for (size_t i = 0; i < c->nservices; i++)
        if (c->services[i].fleet_limits)
            return true;
    return false;
}

struct conf *conf_try_new(void) {
    return calloc(1, sizeof(struct conf));
}

struct conf *conf_new(void) {
    struct conf *c = conf_try_new();
    MUST(c);
    return c;
}

void conf_free(struct conf *c) {
    if (!c)
        return;
    while (c->arena) {
        struct conf_arena *next = c->arena->next;
        free(c->arena);
        c->arena = next;
    }
    free(c);
}
