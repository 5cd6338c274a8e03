#include "relay/session_info.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "relay/relay.h"
#include "relay/services.h"
#include "relay/session.h"

const struct conf_service *session_service(const struct relay *r, const struct session *s) {
    return r->services[s->service].conf;
}

void session_conn_info(const struct session *s, struct conn_info *ret) {
    struct rd rd = rd_of(span_of(s->conn_info, s->conn_info_len));
    conn_info_unpack(&rd, ret); /* packed by ourselves */
}

/*
 * The client that limits of sessions count. A load balancer that is trusted to name clients is none itself: what it has on its
 * own account (PROXY LOCAL and UNKNOWN) counts for no client.
 */
static struct addr limited_client(const struct relay *r, const struct session *s, const struct conn_info *f) {
    bool nobody = session_service(r, s)->proxy_accept && f->peer.family == AF_UNSPEC;
    return nobody ? f->peer : f->client;
}

void session_count(struct relay *r, const struct session *s, int change) {
    struct conn_info f;
    session_conn_info(s, &f);
    struct addr client = limited_client(r, s, &f);
    uint16_t service = services_counted_as(r, s->service);
    scoreboard_session(&r->row, service, &client, change);
    if (session_service(r, s)->max_sessions_per_name)
        scoreboard_name(&r->row, service, f.sni, change);
}

bool session_keep_conn_info(struct session *s, struct span packed) {
    uint8_t *copy = malloc(packed.len);
    if (!copy)
        return false;
    memcpy(copy, packed.p, packed.len);
    free(s->conn_info);
    s->conn_info = copy;
    s->conn_info_len = (uint16_t)packed.len;
    return true;
}

void session_forget_cert(struct session *s, struct conn_info *f) {
    uint8_t packed[CONN_INFO_LEAN_MAX];
    struct wr w = wr_of(packed, sizeof(packed));
    if (f->id.cert.len == 0)
        return;
    f->id.cert = span_of(NULL, 0);
    conn_info_pack(&w, f);
    if (wr_end(&w))
        (void)!session_keep_conn_info(s, wr_written(&w)); /* else it is kept a while longer */
}

int session_over_limit(const struct relay *r, const struct session *s, const struct conn_info *f) {
    const struct conf_service *service = session_service(r, s);
    uint16_t counted_as = services_counted_as(r, s->service);
    if (!service->max_sessions_per_client && !service->max_sessions && !service->max_sessions_per_name)
        return 0;
    struct addr client = limited_client(r, s, f);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* of two relays that count one each at this moment, one sees both */
    if (service->max_sessions_per_client &&
        scoreboard_client_established_over(&r->child.scoreboard, &client, service->max_sessions_per_client))
        return ERR_CLIENT_SESSIONS;
    if (service->max_sessions && scoreboard_service_established(&r->child.scoreboard, counted_as) > service->max_sessions)
        return ERR_SERVICE_SESSIONS;
    if (service->max_sessions_per_name &&
        scoreboard_name_established(&r->child.scoreboard, counted_as, f->sni) > service->max_sessions_per_name)
        return ERR_NAME_SESSIONS;
    return 0;
}
