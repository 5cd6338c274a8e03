#include "handshaker/limits.h"

#include "base/err.h"
#include "handshaker/admit.h"
#include "handshaker/conn.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/handshaker.h"

int limits_peer(const struct handshaker *h, const struct conn *c) {
    const struct conf_listener *l = &h->conf->listeners[c->listener];
    for (size_t i = 0; i < l->nproxy_trust; i++)
        if (cidr_has(&l->proxy_trust[i], &c->peer))
            return 0;
    return ERR_PROXY_UNTRUSTED;
}

/*
 * Sessions first: what they refuse takes nothing from the rate. Each handshaker counts before it compares, so of two that
 * accept the last one at the same time at least one sees both.
 */
static int client_within(struct handshaker *h, struct conn *c, uint64_t sessions, uint64_t rate, bool fleet) {
    uint64_t now_ms = h->loop.now_ms;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (sessions &&
        scoreboard_client_over(&h->child.scoreboard, &c->client, (struct scoreboard_limit){sessions, fleet}, now_ms))
        return ERR_CLIENT_SESSIONS;
    if (rate && !scoreboard_handshake(&h->row, &c->client, (struct scoreboard_limit){rate, fleet}, now_ms))
        return ERR_CLIENT_RATE;
    return 0;
}

/* The server name and the service as a whole, after the client itself: one that is over its own limits takes nothing of theirs.
 */
static int name_within(struct handshaker *h, struct conn *c, const struct conf_service *s) {
    struct span name = span_str(conn_said_name(c));
    uint64_t now_ms = h->loop.now_ms;
    if (s->max_sessions_per_name) {
        scoreboard_name(&h->row, c->service, name, 1);
        c->name_counted = true;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (scoreboard_name_sessions(&h->child.scoreboard, c->service, name) > s->max_sessions_per_name)
            return ERR_NAME_SESSIONS;
    }
    if (s->max_handshakes_per_name && !scoreboard_name_handshake(&h->row, c->service, name, s->max_handshakes_per_name, now_ms))
        return ERR_NAME_RATE;
    if (s->max_handshakes && !scoreboard_service_handshake(&h->row, c->service, s->max_handshakes, now_ms))
        return ERR_SERVICE_RATE;
    return 0;
}

int limits_client(struct handshaker *h, struct conn *c) {
    const struct conf_listener *l = &h->conf->listeners[c->listener];
    int err = admit_client(h, c);
    if (err < 0)
        return err;
    scoreboard_client(&h->row, &c->client, 1);
    c->client_counted = true;
    conn_metrics_client(h, c);
    err = client_within(h, c, l->max_sessions_per_client, l->max_handshakes_per_client, l->fleet_limits);
    if (err == 0 && l->max_handshakes_per_client)
        conn_metrics_let_in(h, c);
    return err;
}

void limits_charge(struct handshaker *h, const struct conn *c) {
    const struct conf_service *s = h->services[c->service].conf;
    const struct scoreboard_limit limit = {s->max_handshakes_per_client, s->fleet_limits};
    if (limit.most && c->client_counted) /* of an empty bucket nothing more is to be had */
        (void)!scoreboard_handshake(&h->row, &c->client, limit, h->loop.now_ms);
}

int limits_service(struct handshaker *h, struct conn *c) {
    const struct conf_service *s = h->services[c->service].conf;
    const struct conf_listener *l = &h->conf->listeners[c->listener];
    uint64_t rate = s->max_handshakes_per_client, charged = l->max_handshakes_per_client;
    bool was_asked = rate == charged && s->fleet_limits == l->fleet_limits;
    int err = admit_to_service(h, c);
    if (err == 0)
        err = admit_hello(h, c);
    if (err < 0)
        return err;
    scoreboard_service(&h->row, c->service, 1);
    c->service_counted = true;
    conn_metrics_service(h, c);
    if (s->max_sessions && scoreboard_service_sessions(&h->child.scoreboard, c->service) > s->max_sessions)
        return ERR_SERVICE_SESSIONS;
    if (c->client_counted)
        err = client_within(h, c, s->max_sessions_per_client, was_asked ? 0 : rate, s->fleet_limits);
    if (err == 0 && c->client_counted && rate && !charged) /* otherwise it was counted when it was accepted */
        conn_metrics_let_in(h, c);
    return err < 0 ? err : name_within(h, c, s);
}
