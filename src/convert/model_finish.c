/* The last look at a model: what is written passes `tls-off check`, and lets nobody in whom its origin keeps out. */
#include "convert/model_finish.h"

#include <string.h>

#include "convert/model_claims.h"

struct model_key *model_key_in(const struct model_service *s, const char *table, const char *key) {
    for (struct model_key *k = s->keys; k; k = k->next)
        if (k->n && strcmp(k->table, table) == 0 && strcmp(k->key, key) == 0)
            return k;
    return NULL;
}

static bool value_is(const struct model_service *s, const char *table, const char *key, const char *toml) {
    const struct model_key *k = model_key_in(s, table, key);
    return k && strcmp(k->values[0], toml) == 0;
}

/* Why the service cannot be written; NULL when it can. */
static const char *missing(const struct model_service *s) {
    bool asks = model_key_in(s, "client_auth", "mode") && !value_is(s, "client_auth", "mode", "\"none\"");
    if (!model_key_in(s, "", "listen"))
        return "no address to listen at";
    if (!model_key_in(s, "", "backends"))
        return "no backend";
    if (asks && !model_key_in(s, "client_auth", "ca"))
        return "it asks for clients' certificates and names no file of CAs: without one everybody would be let in";
    return NULL;
}

/* ---- services that are omitted because of a line that kept clients out ---- */

/* Whether clients of NAME would be taken by TAKER; both as TOML. */
static bool takes_name(const char *taker, const char *name) {
    size_t dots = strspn(taker + 1, "*"), n = strlen(taker), len = strlen(name); /* of "**.x" */
    if (strcmp(taker, name) == 0 || (strcmp(taker, "\"*\"") == 0 && len > 2))
        return true;
    n -= 1 + dots;
    return dots && len > n + 1 && strcmp(name + len - n, taker + 1 + dots) == 0;
}

/* Whether clients of ADDRESS reach TAKER when nobody else listens there; both as TOML. */
static bool takes_address(const char *taker, const char *address) {
    const char *port = strrchr(taker, ':'), *its = strrchr(address, ':');
    size_t n = port ? (size_t)(port - taker) - 1 : 0;
    if (strcmp(taker, address) == 0)
        return true;
    if (!port || !its || strcmp(port, its) != 0)
        return false;
    bool four = n == 0 || strncmp(taker + 1, "0.0.0.0:", 8) == 0, six = n == 0 || strncmp(taker + 1, "[::]:", 5) == 0;
    return address[1] == ':' || address[1] == '?' ? four || six : address[1] == '[' ? six : four;
}

static bool takes_addresses(const struct model_service *taker, const struct model_service *s) {
    const struct model_key *x = model_key_in(taker, "", "listen"), *y = model_key_in(s, "", "listen");
    for (size_t i = 0; x && y && i < x->n; i++)
        for (size_t k = 0; k < y->n; k++)
            if (takes_address(x->values[i], y->values[k]))
                return true;
    return false;
}

bool model_is_omitted(const struct model_service *s) {
    return s->guard_line || s->drop_line || missing(s);
}

/* Whether clients of a name of which nothing is known may get to the service. */
static bool may_take_any(const struct model_service *s) {
    const struct model_key *names = model_key_in(s, "", "names");
    for (size_t i = 0; names && i < names->n; i++)
        if (names->values[i][1] == '*')
            return true;
    return !names;
}

/* Whether clients of a lost name would come in that the service keeps out. */
static bool loses_guarded_name(const struct model_service *s) {
    bool has_other_reason = (s->drop_line && s->drop_line != s->lost_name) || missing(s);
    return s->lost_name && (model_keeps_out(s) || has_other_reason);
}

/* Whether OTHER would get clients of S that S does not get. */
static bool would_take_over(const struct model_service *other, const struct model_service *s) {
    const struct model_key *names = model_key_in(s, "", "names"), *its = model_key_in(other, "", "names");
    if (!takes_addresses(other, s))
        return false;
    if (loses_guarded_name(s) && may_take_any(other))
        return true;
    if (!model_is_omitted(s) || (!names && s->lost_name))
        return false;
    if (!names)
        return true; /* every client that came there */
    for (size_t i = 0; i < names->n; i++)
        for (size_t k = 0; its && k < its->n; k++)
            if (takes_name(its->values[k], names->values[i]))
                return true;
    return !its; /* the names of its certificates */
}

bool model_is_service(const struct model_service *s) {
    return strncmp(s->head, "service.", 8) == 0 && model_has_keys(s);
}

/* The line that is why others must not get clients of the service. */
static unsigned line_of_loss(const struct model_service *s) {
    return s->guard_line ? s->guard_line : s->lost_name ? s->lost_name : s->drop_line ? s->drop_line : s->line;
}

/* Marks those that would take over clients of one that is omitted; false when there was none. */
static bool spread_lost_guards(struct model *m) {
    bool more = false;
    for (const struct model_service *s = m->services; s; s = s->next) {
        bool loses = model_is_service(s) && (model_is_omitted(s) || s->lost_name);
        for (struct model_service *other = m->services; loses && other; other = other->next)
            if (other != s && model_is_service(other) && !model_is_omitted(other) && would_take_over(other, s)) {
                model_guard_lost(other, line_of_loss(s));
                more = true;
            }
    }
    return more;
}

/* A service whose names are all lost would get those of its certificates. */
static void drop_nameless(struct model *m) {
    for (struct model_service *s = m->services; s; s = s->next)
        if (s->lost_name && !model_key_in(s, "", "names"))
            model_drop(s, s->lost_name);
}

static void finish_service(struct model *m, struct model_service *s) {
    const char *name = strchr(s->head, '.') + 1, *why = missing(s);
    if (s->drop_line) { /* noted elsewhere */
        model_clear(s);
        return;
    }
    if (s->guard_line || why) {
        if (s->refuses)
            model_note(m, MODEL_NOT_NEEDED, s->guard_line, "service %s: its clients are refused, no service takes their names",
                       name);
        else if (s->guard_line)
            model_note(m, MODEL_LOST, s->guard_line, "service %s is omitted: it would let in clients that this line keeps out",
                       name);
        else
            model_note(m, MODEL_LOST, s->line, "service %s: %s", name, why);
        model_clear(s);
        return;
    }
    m->nservices++;
    if (!model_key_in(s, "client_auth", "mode"))
        model_unset_table(s, "client_auth");
    if (!model_key_in(s, "", "certificates") && !value_is(s, "", "mode", "\"passthrough\""))
        model_note(m, MODEL_LOST, s->line, "service %s: no certificate, so a self-signed one is used", name);
}

/* Whether a service listens at that address of that port; PORT is ":443\"". */
static bool is_listened_at(const struct model *m, const char *host, const char *port) {
    for (const struct model_service *s = m->services; s; s = s->next) {
        const struct model_key *k = strncmp(s->head, "service.", 8) == 0 ? model_key_in(s, "", "listen") : NULL;
        for (size_t i = 0; k && i < k->n; i++) {
            size_t n = strlen(host);
            if (strncmp(k->values[i] + 1, host, n) == 0 && strcmp(k->values[i] + 1 + n, port) == 0)
                return true;
        }
    }
    return false;
}

/* S no longer listens at ALL, but at LEFT; NULL = nowhere instead. */
static void move_listen(struct model_service *s, const char *all, const char *left) {
    struct model_key *k = model_key_in(s, "", "listen");
    size_t n = 0;
    for (size_t i = 0; k && i < k->n; i++) {
        const char *value = strcmp(k->values[i], all) == 0 ? left : k->values[i];
        if (value)
            k->values[n++] = value;
    }
    if (k)
        k->n = n;
}

/*
 * ":443" beside "0.0.0.0:443", of any service, would be one address twice: it becomes the family that is left, for all services
 * and with what the listener has. True: ALL is no address of anyone now.
 */
static bool part_families(struct model *m, const char *all) {
    const char *port = all + 1; /* behind the quote */
    bool four = is_listened_at(m, "0.0.0.0", port), six = is_listened_at(m, "[::]", port);
    if (port[0] != ':' || (!four && !six))
        return false;
    const char *left = four && six ? NULL : model_text(m, "\"%s%s", four ? "[::]" : "0.0.0.0", port);
    for (struct model_service *s = m->services; s; s = s->next)
        if (model_is_service(s))
            move_listen(s, all, left);
        else if (left && strncmp(s->head, "listener.", 9) == 0 && strcmp(s->head + 9, all) == 0)
            s->head = model_text(m, "listener.%s", left);
    return true;
}

static void part_all_families(struct model *m) {
    for (struct model_service *s = m->services; s; s = s->next) {
        const struct model_key *k = model_is_service(s) ? model_key_in(s, "", "listen") : NULL;
        for (size_t i = 0; k && i < k->n;)
            if (!part_families(m, k->values[i]))
                i++;
    }
}

/* Sections of addresses where nobody listens. */
static void drop_listeners(const struct model *m) {
    for (struct model_service *s = m->services; s; s = s->next) {
        if (strncmp(s->head, "listener.\"", 10) != 0)
            continue;
        if (!is_listened_at(m, s->head + 10, ""))
            for (struct model_key *k = s->keys; k; k = k->next)
                k->n = 0;
    }
}

void model_finish(struct model *m) {
    drop_nameless(m);
    model_settle_claims(m);
    while (spread_lost_guards(m))
        continue;
    part_all_families(m);
    for (struct model_service *s = m->services; s; s = s->next)
        if (model_is_service(s))
            finish_service(m, s);
    drop_listeners(m);
}
