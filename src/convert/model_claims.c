#include "convert/model_claims.h"

#include <string.h>

#include "convert/model_finish.h"

static const char *title_of(const struct model_service *s) {
    return strchr(s->head, '.') + 1;
}

static bool is_live(const struct model_service *s) {
    return model_is_service(s) && !model_is_omitted(s);
}

static bool holds_value(const struct model_key *k, const char *value) {
    for (size_t i = 0; k && i < k->n; i++)
        if (strcmp(k->values[i], value) == 0)
            return true;
    return false;
}

/* How many values of K are values of OF, too. */
static size_t common(const struct model_key *k, const struct model_key *of) {
    size_t n = 0;
    for (size_t i = 0; k && i < k->n; i++)
        n += holds_value(of, k->values[i]);
    return n;
}

/* K keeps those of its values that are values of OF, or those that are not. */
static void keep_values(struct model_key *k, const struct model_key *of, bool within) {
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++)
        if (holds_value(of, k->values[i]) == within)
            k->values[n++] = k->values[i];
    k->n = n;
}

static void remove_value(struct model_key *k, const char *value) {
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->values[i], value) != 0)
            k->values[n++] = k->values[i];
    k->n = n;
}

/* ---- protocols ---- */

static bool ends_tls(const struct model_service *s) {
    return !model_key_in(s, "", "mode");
}

/* A service that demands protocols where TLS ends: others are never agreed on there. */
static void settle_demand(struct model *m, struct model_service *s) {
    struct model_key *match = model_key_in(s, "", "match_alpn"), *alpn = model_key_in(s, "", "alpn");
    if (!match || !ends_tls(s))
        return;
    if (common(match, alpn)) {
        keep_values(alpn, match, true);
        keep_values(match, alpn, true);
        return;
    }
    model_note(m, MODEL_NOT_NEEDED, s->line, "service %s: nobody comes by its protocols, none of which clients are offered",
               title_of(s));
    model_clear(s);
}

/* Of the clients that S and DEMANDING have in common, S gets those who speak none of its protocols. False: there is no such
 * choice. */
static bool leave_protocols(struct model *m, struct model_service *s, const struct model_service *demanding) {
    struct model_key *alpn = model_key_in(s, "", "alpn"), *names = model_key_in(s, "", "names");
    const struct model_key *taken = model_key_in(demanding, "", "match_alpn"), *its = model_key_in(demanding, "", "names");
    const struct model_key *x = model_key_in(s, "", "listen"), *y = model_key_in(demanding, "", "listen");
    if (model_key_in(s, "", "match_alpn") || !taken || !common(alpn, taken) || !common(names, its) || !common(x, y))
        return false;
    if (common(names, its) < names->n) { /* its other clients keep all protocols */
        struct model_service *part = model_add_service(m, title_of(s), s->line);
        model_inherit(part, s, "");
        keep_values(names, its, false);
        names = model_key_in(part, "", "names");
        alpn = model_key_in(part, "", "alpn");
        keep_values(names, its, true);
    }
    keep_values(alpn, taken, false);
    return true;
}

static void settle_protocols(struct model *m) {
    for (struct model_service *s = m->services; s; s = s->next)
        if (model_is_service(s))
            settle_demand(m, s);
    for (struct model_service *s = m->services; s; s = s->next) /* a part of S comes behind it, and is looked at, too */
        for (struct model_service *d = m->services; d; d = d->next)
            while (d != s && model_is_service(s) && model_is_service(d) && ends_tls(s) && leave_protocols(m, s, d))
                continue;
}

/* ---- names ---- */

/* Whether clients of the names that both have are distinguished by their protocols. */
static bool are_told_apart(const struct model_service *a, const struct model_service *b) {
    const struct model_key *x = model_key_in(a, "", "match_alpn"), *y = model_key_in(b, "", "match_alpn");
    return (x && y && !common(x, y)) || (x && !y && !common(x, model_key_in(b, "", "alpn"))) ||
           (!x && y && !common(y, model_key_in(a, "", "alpn")));
}

/* Without names each gets those of its certificates, and everybody else: S no longer listens where FIRST does. */
static void settle_nameless(struct model *m, const struct model_service *first, struct model_service *s) {
    struct model_key *listen = model_key_in(s, "", "listen");
    const struct model_key *its = model_key_in(first, "", "listen"), *names = model_key_in(first, "", "names");
    if (model_key_in(s, "", "names") || (names && !holds_value(names, "\"*\"")) || !common(listen, its))
        return;
    model_note(m, MODEL_LOST, s->line, "service %s: its clients reach service %s, which has its address already", title_of(s),
               title_of(first));
    keep_values(listen, its, false);
    if (!listen->n)
        model_drop(s, s->line);
}

/* The name goes to the first of two services. */
static void settle_names(struct model *m, const struct model_service *first, struct model_service *s) {
    struct model_key *names = model_key_in(s, "", "names");
    const struct model_key *its = model_key_in(first, "", "names"), *listen = model_key_in(s, "", "listen"),
                           *there = model_key_in(first, "", "listen");
    size_t both = common(listen, there);
    if (!both || !common(names, its) || are_told_apart(first, s))
        return;
    bool everywhere = both == listen->n;
    model_note(m, everywhere ? MODEL_NOT_NEEDED : MODEL_LOST, s->line,
               "service %s: %zu of its names belong to service %s, which is the first one there", title_of(s),
               common(names, its), title_of(first));
    keep_values(names, its, false);
    if (!everywhere)
        model_lose_name(s, s->line);
    if (!names->n && everywhere)
        model_clear(s);
    else if (!names->n)
        model_drop(s, s->line);
}

/* ---- addresses ---- */

/* What holds before a service is known; a difference in what GUARDS is no choice of one of both. */
static void settle_address(struct model *m, const struct model_service *first, struct model_service *s) {
    static const struct {
        const char *table, *key;
        bool guards;
    } keys[] = {{"timeouts", "handshake", false},
                {"timeouts", "keepalive", false},
                {"proxy_protocol", "accept", true},
                {"proxy_protocol", "trust", true},
                {"", "starttls", true}};
    if (!common(model_key_in(s, "", "listen"), model_key_in(first, "", "listen")))
        return;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct model_key *its = model_key_in(first, keys[i].table, keys[i].key),
                               *own = model_key_in(s, keys[i].table, keys[i].key);
        size_t n = its ? its->n : 0;
        if (n == (own ? own->n : 0) && common(own, its) == n)
            continue;
        model_note(m, MODEL_LOST, s->line, "service %s: \"%s\" has to be that of service %s, which has the same address",
                   title_of(s), keys[i].key, title_of(first));
        if (keys[i].guards)
            model_guard_lost(s, s->line);
        model_unset(s, keys[i].table, keys[i].key);
        for (size_t k = 0; k < n && !keys[i].guards; k++)
            model_set_raw(m, s, keys[i].table, keys[i].key, its->values[k]);
    }
}

/* Whether ALL is every address of a family, or of both, and ONE a single one of these; both as TOML. */
static bool holds_address(const char *all, const char *one) {
    const char *port = strrchr(all, ':'), *its = strrchr(one, ':');
    bool four = strncmp(one, "\"0.0.0.0:", 9) == 0, six = strncmp(one, "\"[::]:", 6) == 0;
    if (!port || !its || strcmp(port, its) != 0 || four || six || one[1] == ':' || one[1] == '?')
        return false;
    if (strncmp(all, "\"0.0.0.0:", 9) == 0)
        return one[1] != '[';
    return all[1] == ':' || (strncmp(all, "\"[::]:", 6) == 0 && one[1] == '[');
}

static bool find_overlap(const struct model_key *all, const struct model_key *single, const char **ret_all,
                         const char **ret_one) {
    for (size_t i = 0; all && single && i < all->n; i++)
        for (size_t k = 0; k < single->n; k++)
            if (holds_address(all->values[i], single->values[k])) {
                *ret_all = all->values[i];
                *ret_one = single->values[k];
                return true;
            }
    return false;
}

/*
 * The kernel has room for every address or for single ones. S, which has every one, does not listen there beside OTHER's single
 * one: were it the other way round, clients of that one would come to S.
 */
static void settle_overlap(struct model *m, struct model_service *s, const struct model_service *other) {
    struct model_key *listen = model_key_in(s, "", "listen");
    const char *all, *one;
    while (find_overlap(listen, model_key_in(other, "", "listen"), &all, &one)) {
        const char *left = other == s ? one : all;
        model_note(m, other == s ? MODEL_NOT_NEEDED : MODEL_LOST, s->line,
                   "service %s: nobody can listen at %s beside %s of service %s", title_of(s), left, other == s ? all : one,
                   title_of(other));
        remove_value(listen, left);
    }
    if (listen && !listen->n)
        model_drop(s, s->line);
}

void model_settle_claims(struct model *m) {
    settle_protocols(m);
    for (struct model_service *s = m->services; s; s = s->next)
        for (struct model_service *other = m->services; other && is_live(s); other = other->next)
            if (is_live(other))
                settle_overlap(m, s, other);
    for (struct model_service *s = m->services; s; s = s->next)
        for (struct model_service *first = m->services; first != s && is_live(s); first = first->next) {
            if (!is_live(first))
                continue;
            settle_nameless(m, first, s);
            settle_names(m, first, s);
            settle_address(m, first, s);
        }
}
