#include "conf/route.h"

#include <string.h>

#include "base/rd.h"

bool route_is_at(const struct conf_service *s, uint16_t listener) {
    for (size_t i = 0; i < s->nlisteners; i++)
        if (s->listeners[i] == listener)
            return true;
    return false;
}

static enum route_alpn alpn_of(const struct conf_service *s, struct span offered) {
    if (s->mode == MODE_PASSTHROUGH || s->nalpn == 0 || offered.len == 0)
        return ROUTE_ALPN_OPEN;
    for (struct rd r = rd_of(offered); rd_left(&r);) {
        struct span name = rd_vec8(&r);
        for (size_t i = 0; i < s->nalpn && !r.bad; i++)
            if (span_eq(name, span_str(s->alpn[i])))
                return ROUTE_ALPN_SHARED;
    }
    return ROUTE_ALPN_REFUSED;
}

static enum route_match match_of(const struct conf_service *s, enum route_match by_name) {
    if (s->mode == MODE_PASSTHROUGH)
        return ROUTE_REST;
    if (by_name == ROUTE_NO_MATCH && !s->strict_sni)
        return ROUTE_DEFAULT;
    return by_name;
}

struct route_answer route(const struct conf *c, const struct route_ask *ask, route_match_fn match, void *ctx) {
    struct route_answer best = {.match = ROUTE_NO_MATCH};
    bool any = false;
    for (uint16_t i = 0; i < c->nservices; i++) {
        const struct conf_service *s = &c->services[i];
        if (!route_is_at(s, ask->listener))
            continue;
        bool has_names = s->mode == MODE_TERMINATE && ask->name[0];
        struct route_answer a = {.service = i, .alpn = alpn_of(s, ask->alpn)};
        a.match = match_of(s, has_names ? match(ctx, i, ask->name) : ROUTE_NO_MATCH);
        if (!any || a.match > best.match || (a.match == best.match && a.alpn > best.alpn))
            best = a;
        any = true;
    }
    return best;
}
