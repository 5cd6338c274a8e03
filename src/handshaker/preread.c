/*
 * The first bytes of a connection: PROXY header, ClientHello, choice of the service, checks that need no libssl. A client
 * refused here has cost no SSL object.
 */
#include "handshaker/preread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "handshaker/conn.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/handshaker.h"
#include "handshaker/http_redirect.h"
#include "handshaker/limits.h"
#include "handshaker/proxy_in.h"
#include "handshaker/signing.h"
#include "handshaker/starttls.h"
#include "tls/record.h"
#include "wire/export.h"

bool preread_header(struct handshaker *h, struct conn *c) {
    struct proxy_in header;
    int err = 0;
    switch (proxy_in_read(buf_span(&c->in), &header, &err)) {
    case STEP_DONE:
        break;
    case STEP_WANT_READ:
        return false;
    default:
        conn_fail(h, c, err);
        return false;
    }
    buf_consume(&c->in, header.len);
    err = 0;
    if (!header.local) { /* else it is the load balancer's own: no client to be counted */
        c->client = header.client;
        c->local = header.service;
        err = limits_client(h, c);
        if (err == 0)
            err = budget_enter(h, c);
    }
    if (err < 0) {
        conn_fail(h, c, err);
        return false;
    }
    conn_goto(h, c, starttls_first_state(h, c));
    return true;
}

static struct hello_info *make_hello_info(const struct hello *hello) {
    struct hello_info *a = malloc(sizeof(*a));
    if (a) {
        const struct span *other = &hello->sni_other;
        memcpy(a->sni, hello->sni, sizeof(a->sni));
        a->sni_is_name = other->len == 0;
        if (other->len)
            snprintf(a->sni, sizeof(a->sni), "%.*s", (int)other->len, (const char *)other->p);
        memcpy(a->ja4, hello->ja4, sizeof(a->ja4));
        a->named = (struct sketch_ref){0};
    }
    return a;
}

/* A reverse name: how a validator asks for an address (RFC 8738 6). */
static bool is_reverse(const char *name) {
    const char *dot = strstr(name, ".in-addr.arpa");
    dot = dot ? dot : strstr(name, ".ip6.arpa");
    return dot && strchr(dot + 1, '.') == strrchr(dot, '.');
}

/*
 * Validators of ACME issuers (RFC 8737 3: this protocol and no other) are led to the process that answers them, undecrypted;
 * but what a passthrough service owns is the business of its backend.
 */
static bool is_validator(const struct handshaker *h, const struct hello *hello, const struct route_answer *owner) {
    static const char protocol[] = "\x0a"
                                   "acme-tls/1";
    if (!h->conf->acme.tls_route || !span_eq(hello->alpn, span_str(protocol)))
        return false;
    return owner->service == ROUTE_NOBODY || h->conf->services[owner->service].mode == MODE_TERMINATE || is_reverse(hello->sni);
}

/* Without an owner the client stays with the service in whose name its address refuses. */
static int enter_service(struct handshaker *h, struct conn *c, const struct hello *hello, struct route_answer *ret) {
    const struct route_ask ask = {.listener = c->listener, .name = hello->sni, .alpn = hello->alpn};
    *ret = route_find(h->routes, &ask);
    if (is_validator(h, hello, ret))
        *ret = (struct route_answer){.service = h->conf->acme.tls_service, .fit = ROUTE_OPEN};
    c->hello_info = make_hello_info(hello);
    if (!c->hello_info)
        return ERR_NOMEM;
    conn_metrics_hello(h, c);
    if (ret->service == ROUTE_NOBODY)
        return ERR_UNKNOWN_NAME;
    c->service = ret->service;
    return limits_service(h, c);
}

int preread_nameless(struct handshaker *h, struct conn *c) {
    const struct route_ask ask = {.listener = c->listener, .name = ""};
    const struct route_answer route = route_find(h->routes, &ask);
    if (route.service == ROUTE_NOBODY)
        return ERR_UNKNOWN_NAME;
    c->service = route.service;
    return limits_service(h, c);
}

/* Certain only for a TLS 1.3 client without a ticket. The others are tried. */
static bool needs_signature(const struct hello *hello) {
    return !hello->has_psk && hello_list_has(hello->versions, TLS_1_3);
}

static bool begin_handshake(struct handshaker *h, struct conn *c, const struct hello *hello, int err) {
    if (err == 0)
        err = handshake_new(h->services[c->service].server, hello, &c->out, keylog_file_for(h, c), &c->handshake);
    if (err < 0) {
        conn_fail(h, c, err);
        return false;
    }
    conn_goto(h, c, CONN_HANDSHAKE);
    return true;
}

/*
 * The first byte is not that of a ClientHello. STEP_DONE: the address has something for such clients, and the client is served
 * or refused; STEP_FAILED: it has not.
 */
static enum step read_plain(struct handshaker *h, struct conn *c) {
    const struct conf_listener *l = &h->conf->listeners[c->listener];
    struct span in = buf_span(&c->in);
    enum sniff means = l->redirect_http ? hello_sniff(in) : SNIFF_OTHER;
    if (means == SNIFF_MORE)
        return STEP_WANT_READ;
    if (means == SNIFF_HTTP) {
        if (http_redirect(in, &c->out) == STEP_WANT_READ)
            return STEP_WANT_READ;
        conn_fail(h, c, ERR_PLAIN_HTTP);
        return STEP_DONE;
    }
    if (l->fallback == CONF_NO_SERVICE)
        return STEP_FAILED;
    c->service = l->fallback;
    int err = limits_service(h, c);
    if (err < 0) {
        conn_fail(h, c, err);
        return STEP_DONE;
    }
    conn_metrics_done(h, c);
    conn_goto(h, c, CONN_QUEUED);
    return STEP_DONE;
}

bool preread_hello(struct handshaker *h, struct conn *c) {
    struct span message, in = buf_span(&c->in);
    size_t wire_len = 0;
    int err = 0;
    bool is_plain = in.p && in.p[0] != CONTENT_HANDSHAKE;
    if (c->upgraded && is_plain) {
        conn_fail(h, c, ERR_STARTTLS_INJECTION);
        return false;
    }
    if (is_plain && read_plain(h, c) != STEP_FAILED)
        return false;
    switch (hello_find(&c->scan, buf_span(&c->in), h->hello_scratch, &message, &wire_len, &err)) {
    case STEP_DONE:
        break;
    case STEP_WANT_READ:
        return false;
    default:
        c->alert = c->scan.alert;
        conn_fail(h, c, err);
        return false;
    }
    struct hello hello;
    struct route_answer route = {.service = ROUTE_NOBODY};
    err = hello_parse(message, &hello);
    if (err == 0)
        err = enter_service(h, c, &hello, &route);
    const struct handshaker_service *s = &h->services[c->service];
    if (err == 0 && s->server)
        err = tls_server_check(s->server, &hello);
    if (err == 0 && route.fit == ROUTE_UNFIT)
        err = ERR_NO_ALPN;
    c->mute = (err == ERR_UNKNOWN_NAME || err == ERR_NO_ALPN) && h->conf->listeners[c->listener].resets;
    if (err == 0 && !s->server && buf_len(&c->in) > EXPORT_READ_AHEAD_MAX)
        err = ERR_LIMIT; /* no relay takes so much with a session */
    if (err == 0 && !s->server) {
        conn_metrics_done(h, c);
        conn_goto(h, c, CONN_QUEUED);
        return true;
    }
    if (err == 0 && !signing_there(h) && needs_signature(&hello)) {
        signing_wait(h, c);
        return false;
    }
    return begin_handshake(h, c, &hello, err);
}

bool preread_again(struct handshaker *h, struct conn *c) {
    struct span message;
    struct hello hello;
    size_t wire_len = 0;
    int err = ERR_HELLO_MALFORMED; /* it was well formed before */
    if (hello_find(&c->scan, buf_span(&c->in), h->hello_scratch, &message, &wire_len, &err) == STEP_DONE)
        err = hello_parse(message, &hello);
    return begin_handshake(h, c, &hello, err);
}
