/*
 * Claims of one pattern at one listener are a chain, found by a hash with open addressing. Those that can win stand first: a
 * claim that earlier ones of its weight leave nothing to (no protocol of its own, no client without one) is kept behind them,
 * for `explain` alone, so that a look-up never walks over services that cannot be meant.
 */
#include "route/route.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/rand.h"
#include "base/rd.h"

#define NO_CLAIM   UINT32_MAX
#define DEPTHS     128 /* labels of the longest name */
#define FIRST_ROOM 64

struct claim {
    const char *pattern;
    uint32_t next;
    uint16_t listener, service;
    uint8_t weight;
    bool wins; /* some client's best one */
};

/* A slot in use has claims. LAST_WINS: the last of the chain that wins. */
struct claim_group {
    uint32_t hash, first, last_wins, last;
};

struct route_table {
    struct hash_key key;
    struct route_protocols *services;
    uint64_t (*deep)[DEPTHS / 64]; /* of each listener: for which numbers of labels there is a "**.suffix" */
    struct claim *claims;
    size_t nclaims, claims_cap;
    struct claim_group *groups;
    size_t ngroups, groups_cap; /* a power of two, at most half in use */
};

struct route_pattern route_pattern_of(const char *text) {
    if (!text[0])
        return (struct route_pattern){ROUTE_NAMELESS, span_str("")};
    if (strcmp(text, "*") == 0)
        return (struct route_pattern){ROUTE_ALL, span_str("")};
    if (strncmp(text, "**.", 3) == 0)
        return (struct route_pattern){ROUTE_DEEP, span_str(text + 3)};
    if (strncmp(text, "*.", 2) == 0)
        return (struct route_pattern){ROUTE_LABEL, span_str(text + 2)};
    return (struct route_pattern){ROUTE_EXACT, span_str(text)};
}

static size_t count_labels(struct span name) {
    size_t n = name.len > 0;
    for (size_t i = 0; i < name.len; i++)
        n += name.p[i] == '.';
    return n;
}

/* ---- the table ---- */

struct route_table *route_table_new(uint16_t listeners, uint16_t services) {
    struct route_table *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->services = calloc(services ? services : 1, sizeof(*t->services));
    t->deep = calloc(listeners ? listeners : 1, sizeof(*t->deep));
    t->groups = calloc(FIRST_ROOM, sizeof(*t->groups));
    t->groups_cap = FIRST_ROOM;
    if (!t->services || !t->deep || !t->groups) {
        route_table_free(t);
        return NULL;
    }
    for (size_t i = 0; i < t->groups_cap; i++)
        t->groups[i].first = NO_CLAIM;
    rand_bytes(&t->key, sizeof(t->key));
    return t;
}

void route_table_free(struct route_table *t) {
    if (!t)
        return;
    free(t->services);
    free(t->deep);
    free(t->claims);
    free(t->groups);
    free(t);
}

void route_table_speak(struct route_table *t, uint16_t service, struct route_protocols p) {
    t->services[service] = p;
}

static uint32_t pattern_hash(const struct route_table *t, uint16_t listener, struct route_pattern p) {
    uint64_t place = ((uint64_t)listener << 3 | (uint64_t)p.kind) + 1;
    return (uint32_t)((hash_bytes(&t->key, p.name) ^ place * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* The slot of a pattern, or the free one where it belongs. */
static struct claim_group *claim_slot(const struct route_table *t, uint32_t hash, uint16_t listener, struct route_pattern p) {
    for (size_t i = hash;; i++) {
        struct claim_group *g = &t->groups[i & (t->groups_cap - 1)];
        if (g->first == NO_CLAIM)
            return g;
        if (g->hash != hash)
            continue;
        const struct claim *c = &t->claims[g->first];
        struct route_pattern has = route_pattern_of(c->pattern);
        if (c->listener == listener && has.kind == p.kind && span_eq(has.name, p.name))
            return g;
    }
}

static const struct claim_group *group_of(const struct route_table *t, uint16_t listener, struct route_pattern p) {
    const struct claim_group *g = claim_slot(t, pattern_hash(t, listener, p), listener, p);
    return g->first == NO_CLAIM ? NULL : g;
}

static int grow_groups(struct route_table *t) {
    struct claim_group *old = t->groups;
    size_t n = t->groups_cap;
    struct claim_group *new = calloc(2 * n, sizeof(*new));
    if (!new)
        return ERR_NOMEM;
    for (size_t i = 0; i < 2 * n; i++)
        new[i].first = NO_CLAIM;
    for (size_t i = 0; i < n; i++)
        for (size_t to = old[i].hash; old[i].first != NO_CLAIM; to++)
            if (new[to & (2 * n - 1)].first == NO_CLAIM) {
                new[to & (2 * n - 1)] = old[i];
                break;
            }
    t->groups = new;
    t->groups_cap = 2 * n;
    free(old);
    return 0;
}

static int make_claim_room(struct route_table *t) {
    if (2 * (t->ngroups + 1) > t->groups_cap && grow_groups(t) < 0)
        return ERR_NOMEM;
    if (t->nclaims < t->claims_cap)
        return 0;
    size_t cap = t->claims_cap ? 2 * t->claims_cap : FIRST_ROOM;
    struct claim *more = cap < NO_CLAIM ? reallocarray(t->claims, cap, sizeof(*more)) : NULL;
    if (!more)
        return ERR_NOMEM;
    t->claims = more;
    t->claims_cap = cap;
    return 0;
}

static bool speaks(const struct route_protocols *s, struct span protocol) {
    for (size_t i = 0; i < s->n; i++)
        if (span_eq(span_str(s->list[i]), protocol))
            return true;
    return false;
}

/* Whether some client is best served by SERVICE, given those of the group that win already. */
static bool leaves_a_client(const struct route_table *t, const struct claim_group *g, uint16_t service) {
    const struct route_protocols *s = &t->services[service];
    bool unclaimed = s->n == 0, nothing_offered = !s->demanded;
    for (uint32_t i = g->first; i != NO_CLAIM && t->claims[i].wins; i = t->claims[i].next) {
        const struct route_protocols *other = &t->services[t->claims[i].service];
        unclaimed = unclaimed && other->n > 0;
        nothing_offered = nothing_offered && other->demanded;
    }
    bool new_protocol = false;
    for (size_t p = 0; p < s->n && !new_protocol; p++) {
        new_protocol = true;
        for (uint32_t i = g->first; i != NO_CLAIM && t->claims[i].wins; i = t->claims[i].next)
            new_protocol = new_protocol && !speaks(&t->services[t->claims[i].service], span_str(s->list[p]));
    }
    return unclaimed || nothing_offered || new_protocol;
}

/* A claim that outweighs the others of its group leaves no client to them. */
static void outweigh(struct route_table *t, struct claim_group *g, uint32_t n) {
    for (uint32_t i = g->first; i != NO_CLAIM && t->claims[i].wins; i = t->claims[i].next)
        t->claims[i].wins = false;
    t->claims[n].next = g->first;
    t->claims[n].wins = true;
    g->first = g->last_wins = n;
}

/* Whose claim was added last; it is at one of three places. */
static uint16_t newest(const struct route_table *t, const struct claim_group *g) {
    return t->claims[MAX(MAX(g->first, g->last_wins), g->last)].service;
}

int route_table_claim(struct route_table *t, uint16_t listener, uint16_t service, const char *pattern,
                      enum route_weight weight) {
    if (make_claim_room(t) < 0)
        return ERR_NOMEM;
    struct route_pattern p = route_pattern_of(pattern);
    uint32_t hash = pattern_hash(t, listener, p);
    struct claim_group *g = claim_slot(t, hash, listener, p);
    uint32_t n = (uint32_t)t->nclaims;
    if (g->first != NO_CLAIM && newest(t, g) == service)
        return 0; /* several certificates of a service have the name */
    t->claims[t->nclaims++] = (struct claim){pattern, NO_CLAIM, listener, service, (uint8_t)weight, true};
    size_t depth = count_labels(p.name);
    if (p.kind == ROUTE_DEEP && depth && depth <= DEPTHS)
        t->deep[listener][(depth - 1) / 64] |= UINT64_C(1) << (depth - 1) % 64;

    if (g->first == NO_CLAIM) {
        *g = (struct claim_group){hash, n, n, n};
        t->ngroups++;
    } else if (weight > t->claims[g->first].weight) {
        outweigh(t, g, n);
    } else if (weight == t->claims[g->first].weight && leaves_a_client(t, g, service)) {
        t->claims[n].next = t->claims[g->last_wins].next;
        t->claims[g->last_wins].next = n;
        g->last = g->last == g->last_wins ? n : g->last;
        g->last_wins = n;
    } else {
        t->claims[n].wins = false;
        t->claims[g->last].next = n;
        g->last = n;
    }
    return 0;
}

/* ---- the rule ---- */

/* How a service fits the client's protocols; *RET_AT: the place of the one they share in the client's list. */
static enum route_fit fit_of(const struct route_protocols *s, struct span offered, size_t *ret_at) {
    size_t at = 0;
    *ret_at = SIZE_MAX;
    if (s->n == 0)
        return ROUTE_OPEN;
    for (struct rd r = rd_of(offered); rd_left(&r); at++) {
        struct span name = rd_vec8(&r);
        if (!r.bad && speaks(s, name)) {
            *ret_at = at;
            return ROUTE_SHARED;
        }
    }
    return s->demanded || offered.len ? ROUTE_UNFIT : ROUTE_OPEN;
}

static struct route_answer answer_of(const struct route_table *t, uint32_t claim, enum route_fit fit) {
    const struct claim *c = &t->claims[claim];
    return (struct route_answer){c->service, (enum route_weight)c->weight, fit, c->pattern};
}

static uint32_t choose_claim(const struct route_table *t, const struct claim_group *g, struct span offered,
                             enum route_fit *ret_fit) {
    uint32_t best = g->first;
    size_t best_at = SIZE_MAX, at;
    *ret_fit = ROUTE_UNFIT;
    for (uint32_t i = g->first; i != NO_CLAIM && t->claims[i].wins; i = t->claims[i].next) {
        enum route_fit fit = fit_of(&t->services[t->claims[i].service], offered, &at);
        if (fit > *ret_fit || (fit == *ret_fit && at < best_at)) {
            best = i;
            best_at = at;
            *ret_fit = fit;
        }
    }
    return best;
}

/* From the most specific pattern that can take a name to the least. */
struct walk {
    const struct route_table *t;
    const struct route_ask *ask;
    struct span rest;     /* the suffix that is next */
    size_t labels;        /* of it */
    enum route_kind next; /* kind of the pattern that is next; ROUTE_NAMELESS: none */
};

static struct walk walk_of(const struct route_table *t, const struct route_ask *ask) {
    struct span name = span_str(ask->name);
    return (struct walk){t, ask, name, count_labels(name), ROUTE_EXACT};
}

static void drop_label(struct walk *w) {
    const uint8_t *dot = w->rest.len ? memchr(w->rest.p, '.', w->rest.len) : NULL;
    w->rest = dot ? span_of(dot + 1, (size_t)(w->rest.p + w->rest.len - dot - 1)) : span_of("", 0);
    w->labels -= w->labels > 0;
}

static bool has_deep(const struct walk *w) {
    return w->labels && w->labels <= DEPTHS && w->t->deep[w->ask->listener][(w->labels - 1) / 64] >> (w->labels - 1) % 64 & 1;
}

/* The next group of claims, or NULL at the end. */
static const struct claim_group *walk_next(struct walk *w) {
    const struct claim_group *g = NULL;
    while (!g && w->next != ROUTE_NAMELESS) {
        enum route_kind kind = w->next;
        if (kind == ROUTE_EXACT && w->ask->name[0]) {
            g = group_of(w->t, w->ask->listener, (struct route_pattern){ROUTE_EXACT, w->rest});
            drop_label(w);
            w->next = w->rest.len ? ROUTE_LABEL : ROUTE_ALL;
        } else if (kind == ROUTE_EXACT) {
            g = group_of(w->t, w->ask->listener, (struct route_pattern){ROUTE_NAMELESS, span_of("", 0)});
            w->next = ROUTE_ALL;
        } else if (kind == ROUTE_LABEL) {
            g = group_of(w->t, w->ask->listener, (struct route_pattern){ROUTE_LABEL, w->rest});
            w->next = ROUTE_DEEP;
        } else if (kind == ROUTE_DEEP) {
            if (has_deep(w))
                g = group_of(w->t, w->ask->listener, (struct route_pattern){ROUTE_DEEP, w->rest});
            drop_label(w);
            w->next = w->rest.len ? ROUTE_DEEP : ROUTE_ALL;
        } else {
            g = group_of(w->t, w->ask->listener, (struct route_pattern){ROUTE_ALL, span_of("", 0)});
            w->next = ROUTE_NAMELESS;
        }
    }
    return g;
}

static struct route_answer answer_from(const struct route_table *t, const struct claim_group *g, struct span alpn) {
    enum route_fit fit;
    if (!g)
        return (struct route_answer){.service = ROUTE_NOBODY};
    uint32_t best = choose_claim(t, g, alpn, &fit);
    return answer_of(t, best, fit);
}

struct route_answer route_find(const struct route_table *t, const struct route_ask *ask) {
    struct walk w = walk_of(t, ask);
    return answer_from(t, walk_next(&w), ask->alpn);
}

struct route_answer route_find_pattern(const struct route_table *t, uint16_t listener, const char *pattern, struct span alpn) {
    return answer_from(t, group_of(t, listener, route_pattern_of(pattern)), alpn);
}

void route_each_rival(const struct route_table *t, uint16_t listener, const char *pattern, route_claim_fn take, void *ctx) {
    const struct claim_group *g = group_of(t, listener, route_pattern_of(pattern));
    for (uint32_t i = g ? g->first : NO_CLAIM; i != NO_CLAIM; i = t->claims[i].next) {
        struct route_answer a = answer_of(t, i, ROUTE_OPEN);
        take(ctx, &a);
    }
}

void route_each_claim(const struct route_table *t, const struct route_ask *ask, route_claim_fn take, void *ctx) {
    struct walk w = walk_of(t, ask);
    uint32_t best = NO_CLAIM;
    enum route_fit fit;
    size_t at;
    for (const struct claim_group *g; (g = walk_next(&w));) {
        if (best == NO_CLAIM) {
            best = choose_claim(t, g, ask->alpn, &fit);
            take(ctx, &(struct route_answer){t->claims[best].service, (enum route_weight)t->claims[best].weight, fit,
                                             t->claims[best].pattern});
        }
        for (uint32_t i = g->first; i != NO_CLAIM; i = t->claims[i].next) {
            struct route_answer a = answer_of(t, i, fit_of(&t->services[t->claims[i].service], ask->alpn, &at));
            if (i != best)
                take(ctx, &a);
        }
    }
}
