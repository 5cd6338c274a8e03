#include "observer/explanation.h"

#include <string.h>

#include "base/text.h"
#include "conf/routes.h"
#include "observer/json.h"

#define OTHERS_SHOWN 32
#define WHY_MAX      768
#define NAME_BYTES   255

/* One explanation in the making. */
struct explanation {
    const struct conf *c;
    const struct creds *creds;
    const struct explanation_ask *ask;
    struct route_ask route;
    uint8_t alpn[EXPLANATION_PROTOCOLS_MAX * 256];
    struct route_answer winner;
    bool has_winner;
    json_t *others;
    size_t nothers;
};

/* ---- the question ---- */

static bool listener_covers(const struct conf_listener *l, const struct addr *asked) {
    if (l->path || l->addr.port != asked->port || (l->addr.family != asked->family && l->v6only))
        return false;
    return addr_equal(&l->addr, asked) || addr_is_any(&l->addr);
}

static bool find_listener(const struct conf *c, const char *text, uint16_t *ret, struct text *why) {
    struct addr asked;
    bool readable = addr_parse(text, &asked) == 0;
    for (size_t i = 0; i < c->nlisteners; i++)
        if (strcmp(c->listeners[i].name, text) == 0 || (readable && listener_covers(&c->listeners[i], &asked))) {
            *ret = (uint16_t)i;
            return true;
        }
    text_addf(why, "nothing listens on \"%.100s\", expected ", text);
    for (size_t i = 0; i < c->nlisteners && i < 8; i++)
        text_addf(why, "%s%s", i ? ", " : "", c->listeners[i].name);
    text_add(why, c->nlisteners > 8 ? " or others" : "");
    return false;
}

/* "h2,http/1.1" as on the wire. */
static bool read_protocols(struct explanation *x, struct text *why) {
    size_t len = 0;
    for (const char *p = x->ask->protocols; *p;) {
        size_t n = strcspn(p, ",");
        if (n == 0 || n > 255 || len + 1 + n > sizeof(x->alpn)) {
            text_addf(why, "found \"%.100s\", expected at most %d protocols (ALPN) separated by commas", x->ask->protocols,
                      EXPLANATION_PROTOCOLS_MAX);
            return false;
        }
        x->alpn[len] = (uint8_t)n;
        memcpy(x->alpn + len + 1, p, n);
        len += 1 + n;
        p += n + (p[n] == ',');
    }
    x->route.alpn = span_of(x->alpn, len);
    return true;
}

static bool read_name(struct explanation *x, struct text *why) {
    const char *name = x->ask->name;
    size_t n = strlen(name);
    if (n > NAME_BYTES || n != strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.")) {
        text_addf(why, "found \"%.100s\", expected a host name in lower case", name);
        return false;
    }
    x->route.name = name;
    return true;
}

/* ---- why ---- */

static const char *service_name(const struct explanation *x, uint16_t service) {
    return x->c->services[service].name;
}

/* Where a service has a pattern from. */
static void say_claim(const struct explanation *x, const struct route_answer *a, struct text *t) {
    if (a->weight == ROUTE_GIVEN)
        text_addf(t, "\"%s\" is in \"names\" of service \"%s\"", a->pattern, service_name(x, a->service));
    else if (a->weight == ROUTE_REST)
        text_addf(t, "service \"%s\" passes on what no other service takes", service_name(x, a->service));
    else if (strcmp(a->pattern, "*") == 0)
        text_addf(t, "service \"%s\" gives its default certificate to clients whose name no service has",
                  service_name(x, a->service));
    else
        text_addf(t, "a certificate of service \"%s\" has \"%s\"", service_name(x, a->service), a->pattern);
}

static void say_protocols(const struct explanation *x, uint16_t service, struct text *t) {
    struct route_protocols p = routes_protocols(&x->c->services[service]);
    for (size_t i = 0; i < p.n && i < EXPLANATION_PROTOCOLS_MAX; i++)
        text_addf(t, "%s\"%s\"", i ? ", " : "", p.list[i]);
}

static void say_fit(const struct explanation *x, const struct route_answer *a, struct text *t) {
    struct route_protocols p = routes_protocols(&x->c->services[a->service]);
    if (p.n == 0)
        return;
    text_addf(t,
              a->fit == ROUTE_SHARED ? ", and the client offers what it %s: "
              : a->fit == ROUTE_OPEN ? ", and the client offers no protocol; it %s: "
                                     : ", and the client offers nothing of what it %s: ",
              p.demanded ? "demands" : "speaks");
    say_protocols(x, a->service, t);
}

/* The winner is at a pattern that is at least as specific. */
static void say_why_not(const struct explanation *x, const struct route_answer *a, struct text *t) {
    const struct route_answer *w = &x->winner;
    struct route_pattern mine = route_pattern_of(a->pattern), its = route_pattern_of(w->pattern);
    say_claim(x, a, t);
    if (mine.kind != its.kind || !span_eq(mine.name, its.name))
        text_addf(t, ", but \"%s\" is more specific", w->pattern);
    else if (a->weight < w->weight)
        text_add(t, w->weight == ROUTE_GIVEN ? ", but names that are given come first"
                                             : ", but the other comes before passthrough");
    else if (a->fit == ROUTE_UNFIT)
        say_fit(x, a, t);
    else if (a->fit < w->fit)
        text_add(t, ", but the other has a protocol that the client offers");
    else
        text_add(t, w->fit == ROUTE_SHARED
                        ? ", but the other has the protocol that the client offers first, or is first in the file"
                        : ", but the other is first in the file");
}

static void take_claim(void *ctx, const struct route_answer *a) {
    struct explanation *x = ctx;
    char line[WHY_MAX];
    struct text t = text_of(line, sizeof(line));
    if (!x->has_winner) {
        x->winner = *a;
        x->has_winner = true;
        return;
    }
    if (a->service == x->winner.service || x->nothers++ >= OTHERS_SHOWN)
        return;
    json_t *o = json_append_object(x->others);
    say_why_not(x, a, &t);
    json_put_text(o, "service", service_name(x, a->service));
    json_put_text(o, "pattern", a->pattern);
    json_put_text(o, "why_not", line);
}

/* ---- what a service is ---- */

/* Those that most clients get first stand first (tls/sig_scheme.c). */
static void put_certificates(const struct explanation *x, json_t *o, const uint32_t entries[static CREDS_SLOTS]) {
    static const enum creds_slot order[CREDS_SLOTS] = {CREDS_SLOT_EC, CREDS_SLOT_ED25519, CREDS_SLOT_RSA};
    json_t *list = json_put_array(o, "certificates");
    const char *first = NULL;
    for (unsigned i = 0; i < CREDS_SLOTS; i++) {
        uint32_t entry = entries[order[i]];
        if (entry == CREDS_NONE)
            continue;
        struct creds_entry e = creds_entry(x->creds, entry);
        json_t *c = json_append_object(list);
        json_put_text(c, "file", e.cert_file);
        json_put_text(c, "key_type", creds_kind_name(e.kind));
        json_put_text(c, "issuer", e.issuer);
        json_put_text(c, "serial", e.serial);
        json_put_real(c, "not_after", (double)creds_cert(x->creds, entry, 0).not_after);
        first = first ? first : e.cert_file;
    }
    const struct conf_service *s = &x->c->services[x->winner.service];
    json_put_text(o, "certificate", first || !s->ncerts ? first : s->certs[0].cert); /* a check makes no self-signed one */
}

static void put_texts(json_t *o, const char *name, const char *const *list, size_t n) {
    json_t *array = json_put_array(o, name);
    for (size_t i = 0; i < n; i++)
        json_append_text(array, list[i]);
}

static void put_client_rules(json_t *o, const struct conf_service *s) {
    static const char *const modes[] = {
        [CLIENT_AUTH_NONE] = "none", [CLIENT_AUTH_OPTIONAL] = "optional", [CLIENT_AUTH_REQUIRED] = "required"};
    json_put_text(o, "mode", modes[s->client_auth]);
    if (s->client_auth == CLIENT_AUTH_NONE)
        return;
    json_put_text(o, "ca", s->client_ca);
    json_put_text(o, "crl", s->client_crl);
    put_texts(o, "allow", s->client_allow, s->nclient_allow);
}

static void put_service_limits(json_t *o, const struct conf_service *s) {
    json_put_u64(o, "sessions", s->max_sessions);
    json_put_u64(o, "sessions_per_client", s->max_sessions_per_client);
    json_put_u64(o, "sessions_per_name", s->max_sessions_per_name);
    json_put_u64(o, "handshakes_per_second", s->max_handshakes);
    json_put_u64(o, "handshakes_per_client_per_second", s->max_handshakes_per_client);
    json_put_u64(o, "handshakes_per_name_per_second", s->max_handshakes_per_name);
    json_put_u64(o, "bytes_per_second", s->max_bytes);
    json_put_u64(o, "bytes_per_second_per_client", s->max_bytes_per_client);
    json_put_u64(o, "bytes_per_second_per_name", s->max_bytes_per_name);
}

/* The lists as they are configured: whom they hold is their files' matter. */
static void put_access(json_t *o, const struct conf_service *s) {
    put_texts(o, "allow", s->access_allow, s->naccess_allow);
    put_texts(o, "deny", s->access_deny, s->naccess_deny);
    put_texts(o, "deny_ja4", s->deny_ja4, s->ndeny_ja4);
}

/* What becomes of a client at that address whose first byte is no ClientHello's. */
static void put_not_tls(const struct explanation *x, json_t *o) {
    const struct conf_listener *at = &x->c->listeners[x->route.listener];
    json_put_text(o, "starttls", at->starttls == STARTTLS_NONE ? NULL : prelude_protocol(at->starttls)->name);
    (void)json_object_set_new(o, "redirect_http", json_boolean(at->redirect_http)); /* without memory: omitted */
    json_put_text(o, "fallback", at->fallback == CONF_NO_SERVICE ? NULL : service_name(x, at->fallback));
}

static void put_winner(const struct explanation *x, json_t *o, explanation_state_fn state, void *ctx) {
    const struct conf_service *s = &x->c->services[x->winner.service];
    json_put_text(o, "mode", s->mode == MODE_PASSTHROUGH ? "passthrough" : "terminate");
    if (s->mode == MODE_TERMINATE) {
        put_texts(o, "speaks", s->alpn, s->nalpn);
        put_client_rules(json_put_object(o, "client_auth"), s);
    }
    put_access(json_put_object(o, "access"), s);
    put_service_limits(json_put_object(o, "limits"), s);
    json_t *backends = json_put_array(o, "backends");
    for (size_t i = 0; i < s->nbackends; i++) {
        json_t *b = json_append_object(backends);
        json_put_text(b, "name", s->backends[i].text);
        json_put_text(b, "state", state ? state(ctx, s->name, s->backends[i].text) : NULL);
    }
}

/* ---- the answer ---- */

/* Why the client is refused; NULL: it is not. */
static const char *refusal(const struct explanation *x, uint32_t entries[static CREDS_SLOTS], struct text *t) {
    if (!x->has_winner) {
        text_add(t, x->route.name[0] ? "no service of this address has the name, and none takes what nobody has"
                                     : "no service of this address takes clients that ask for no name");
        return "unrecognized_name";
    }
    const struct conf_service *s = &x->c->services[x->winner.service];
    enum creds_match match =
        s->mode == MODE_TERMINATE ? creds_choose(x->creds, x->winner.service, x->route.name, entries) : CREDS_NO_MATCH;
    say_claim(x, &x->winner, t);
    if (s->strict_sni && s->mode == MODE_TERMINATE && match < CREDS_WILDCARD) {
        text_add(t, ", but none of its certificates has the name, and it has \"strict_sni\"");
        return "unrecognized_name";
    }
    say_fit(x, &x->winner, t);
    return x->winner.fit == ROUTE_UNFIT ? "no_application_protocol" : NULL;
}

static json_t *explanation_object(struct explanation *x, explanation_state_fn state, void *ctx) {
    uint32_t entries[CREDS_SLOTS] = {CREDS_NONE, CREDS_NONE, CREDS_NONE};
    char line[WHY_MAX];
    struct text t = text_of(line, sizeof(line));
    json_t *o = json_object();
    const char *alert = refusal(x, entries, &t);
    json_put_text(o, "address", x->c->listeners[x->route.listener].name);
    json_put_text(o, "name", x->route.name[0] ? x->route.name : NULL);
    json_put_text(o, "alpn", x->ask->protocols);
    json_put_text(o, "service", alert ? NULL : service_name(x, x->winner.service));
    json_put_text(o, "why", line);
    json_put_text(o, "refused", alert);
    json_put_text(o, "pattern", x->has_winner ? x->winner.pattern : NULL);
    json_put_text(o, "certificate", NULL);
    if (!alert) {
        put_certificates(x, o, entries);
        put_winner(x, o, state, ctx);
    }
    put_not_tls(x, json_put_object(o, "not_tls"));
    (void)json_object_set(o, "others", x->others); /* without memory: omitted */
    json_put_u64(o, "others_total", x->nothers);
    return o;
}

json_t *explanation_of(const struct conf *c, const struct creds *creds, const struct explanation_ask *ask,
                       explanation_state_fn state, void *ctx, struct text *why) {
    struct explanation x = {.c = c, .creds = creds, .ask = ask};
    if (!find_listener(c, ask->address, &x.route.listener, why) || !read_name(&x, why) || !read_protocols(&x, why))
        return NULL;
    struct creds store = *creds;
    struct route_table *table = routes_make(c, routes_creds_names, &store);
    x.others = json_array();
    json_t *ret = NULL;
    if (table && x.others) {
        route_each_claim(table, &x.route, take_claim, &x);
        ret = explanation_object(&x, state, ctx);
    } else {
        text_add(why, "out of memory");
    }
    route_table_free(table);
    json_decref(x.others);
    return ret;
}
