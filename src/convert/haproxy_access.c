/* Who may come in by haproxy.cfg: "tcp-request" lines. Connection, session and content lines are three lists of rules; a client
 * has to pass each of them, and those of its backend. */
#include <stdlib.h>
#include <string.h>

#include "convert/haproxy.h"
#include "convert/rules.h"

/* The rules of one level; ENDED by a line for everybody: those behind it are never reached. */
struct request_level {
    struct rules rules;
    bool ended;
};

static const char *const levels[] = {"connection", "session", "content"};

struct request_rules {
    struct model *m;
    struct model_service *s;
    const struct haproxy_section *of;
    struct request_level sets[ARRAY_LEN(levels)];
};

/* Actions, by their first letters, that refuse nobody. */
static const char *const harmless[] = {"accept",  "capture", "do-resolve",  "sc-",      "send-spoe", "set-bandwidth",
                                       "set-dst", "set-fc-", "set-log",     "set-mark", "set-nice",  "set-priority",
                                       "set-tos", "set-var", "switch-mode", "track-sc", "unset-var"};

/* Whether a "tcp-request" line can refuse clients, or changes what the lines behind it see of them. */
static bool guards(const struct haproxy_line *l) {
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
        if (strncmp(haproxy_word(l, 2), harmless[i], strlen(harmless[i])) == 0)
            return false;
    return strcmp(haproxy_word(l, 1), "inspect-delay") != 0;
}

static bool is_request(const struct haproxy_line *l) {
    return strcmp(haproxy_word(l, 0), "tcp-request") == 0;
}

/* The section reads HTTP: of a frontend in TCP mode a backend in HTTP mode does, too. */
static bool reads_http(const struct haproxy_section *of) {
    if (strcmp(haproxy_word(haproxy_setting(of, "mode", NULL), 1), "http") == 0)
        return true;
    for (const struct haproxy_section *s = of; s; s = s->defaults)
        for (size_t i = 0; i < s->nlines; i++)
            if (is_request(&s->lines[i]) && strcmp(haproxy_word(&s->lines[i], 2), "switch-mode") == 0)
                return true;
    return false;
}

bool haproxy_is_http_rule(const struct haproxy_section *of, const struct haproxy_line *l) {
    static const char *const words[] = {"http-request", "http-response", "block",     "reqdeny",
                                        "reqideny",     "reqtarpit",     "reqitarpit"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(haproxy_word(l, 0), words[i]) == 0)
            return reads_http(of);
    return false;
}

static void lose_request(struct request_rules *r, const struct haproxy_line *l, const char *why) {
    model_lose(r->m, l->words, l->n, why);
    if (guards(l))
        model_guard_lost(r->s, l->line);
}

static struct request_level *level_of(struct request_rules *r, const char *level) {
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (strcmp(level, levels[i]) == 0)
            return &r->sets[i];
    return NULL;
}

/* What an action says of the networks of a test; of "! networks" when ONLY they come in. */
static void add_networks(struct request_rules *r, struct rules *to, unsigned line, const struct haproxy_test *t, bool allows,
                         bool only) {
    for (size_t k = 0; k < t->n; k++) {
        const struct haproxy_values *v = &t->values[k];
        for (size_t i = 0; i < v->n; i++)
            if (only)
                rules_only(to, r->m, line, v->words[i].text);
            else
                rules_add(to, r->m, line, allows, v->words[i].text);
        if (v->file)
            rules_add_file(to, r->m, line, allows, model_path(r->m, v->file));
    }
}

/* Takes out of C what holds of every client: a ClientHello, which those that reach a backend say where TLS is passed on, and
 * that there is none, where TLS ends here. False: C never holds. */
static bool without_certain(struct haproxy_condition *c, bool tls) {
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        bool never = haproxy_never_matches(&c->tests[i], tls);
        if (!never && c->tests[i].fetch != HAPROXY_HELLO)
            c->tests[n++] = c->tests[i];
        else if (never != c->tests[i].negated)
            return false;
    }
    c->n = n;
    return true;
}

static void for_everybody(const struct request_rules *r, struct request_level *set, unsigned line, bool rejects) {
    set->ended = true;
    if (rejects)
        rules_add(&set->rules, r->m, line, false, "all");
}

/* Whether a list of networks can say the test: "reject if ! networks" once, and not of a file. */
static bool is_list(const struct request_level *set, const struct haproxy_test *t, bool rejects) {
    if (t->fetch != HAPROXY_SRC || (t->negated && (!rejects || set->rules.has_only)))
        return false;
    for (size_t i = 0; i < t->n; i++)
        if ((t->values[i].file && t->negated) || (!t->values[i].file && !t->values[i].n))
            return false;
    return true;
}

/* One alternative of a line; false: it has no counterpart. */
static bool take_alternative(struct request_rules *r, struct request_level *set, unsigned line, struct haproxy_condition *c,
                             bool rejects, bool unless) {
    if (unless && c->n == 1) {
        c->tests[0].negated = !c->tests[0].negated;
        unless = false;
    }
    if (unless || !c->n)
        return false;
    if (!without_certain(c, !model_has(r->s, "", "mode")))
        return true; /* of nobody */
    if (!c->n) {
        for_everybody(r, set, line, rejects);
        return true;
    }
    const struct haproxy_test *t = &c->tests[0];
    if (c->n != 1 || !is_list(set, t, rejects))
        return false;
    add_networks(r, &set->rules, line, t, !rejects, t->negated);
    return true;
}

/* "tcp-request connection|session|content accept|reject [if|unless CONDITION]" */
static void take_request(struct request_rules *r, const struct haproxy_line *l) {
    const char *action = haproxy_word(l, 2);
    struct request_level *set = level_of(r, haproxy_word(l, 1));
    bool rejects = strcmp(action, "reject") == 0;
    if (strcmp(haproxy_word(l, 1), "inspect-delay") == 0 || (set && set->ended))
        return; /* the deadline of the handshake; never reached */
    if (strcmp(action, "expect-proxy") == 0 && set == level_of(r, "connection") && l->n == 4) {
        haproxy_accept_proxy(r->m, r->s, l->line, action);
        return;
    }
    if (!set || (!rejects && strcmp(action, "accept") != 0)) {
        lose_request(r, l, NULL);
        return;
    }
    if (l->n == 3) {
        for_everybody(r, set, l->line, rejects);
        return;
    }
    bool unless = strcmp(haproxy_word(l, 3), "unless") == 0, bad = false, taken = true;
    size_t at = 4;
    for (struct haproxy_condition c; haproxy_condition_next(r->of, l, &at, &c, &bad);) {
        bool alone = at >= l->n; /* "unless A or B" is no line a part */
        taken = taken && !bad && (alone || !unless) && take_alternative(r, set, l->line, &c, rejects, unless);
    }
    if (!taken)
        lose_request(r, l, "only networks are taken, one condition a line");
}

/* The line that says "disabled"; NULL = none does, or one behind it says "enabled". */
static const struct haproxy_line *disabled_by(const struct haproxy_section *of) {
    const struct haproxy_line *off = haproxy_setting(of, "disabled", NULL), *on = haproxy_setting(of, "enabled", NULL);
    return off && (!on || on->line < off->line) ? off : NULL;
}

bool haproxy_refuses(const struct haproxy_section *of) {
    for (size_t i = 0; i < of->nlines; i++)
        if (strncmp(of->lines[i].words[0].text, "server", 6) == 0 || strcmp(of->lines[i].words[0].text, "dispatch") == 0)
            return disabled_by(of) != NULL;
    return true;
}

bool haproxy_has_guards(const struct haproxy_section *of) {
    const struct haproxy_section *s = of;
    do {
        if (s->conditional)
            return true;
        for (size_t i = 0; i < s->nlines; i++)
            if (haproxy_is_http_rule(of, &s->lines[i]) || (is_request(&s->lines[i]) && guards(&s->lines[i])))
                return true;
        s = s->defaults;
    } while (s);
    return haproxy_refuses(of);
}

/* Rules of connections are about who sends the PROXY header; access lists about whom it names. */
static void put_levels(struct request_rules *r) {
    const struct rules *peers = &level_of(r, "connection")->rules;
    bool by_peer = model_has(r->s, "proxy_protocol", "accept") && peers->line;
    if (by_peer) {
        model_note(r->m, MODEL_LOST, peers->line,
                   "rules of connections are about who sends the PROXY header: see proxy_protocol.trust");
        model_guard_lost(r->s, peers->line);
    }
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (!by_peer || &r->sets[i].rules != peers)
            rules_put(&r->sets[i].rules, r->m, r->s);
}

void haproxy_take_access(struct model *m, struct model_service *s, const struct haproxy_section *of) {
    const struct haproxy_line *off = disabled_by(of);
    struct request_rules *r = calloc(1, sizeof(*r));
    MUST(r);
    *r = (struct request_rules){.m = m, .s = s, .of = of};
    model_guard_lost(s, of->conditional);
    for (const struct haproxy_section *d = of->defaults; d; d = d->defaults)
        model_guard_lost(s, d->conditional);
    for (size_t i = 0; i < of->nlines; i++) {
        const struct haproxy_line *l = &of->lines[i];
        if (is_request(l))
            take_request(r, l);
        if (strcmp(haproxy_word(l, 0), "use-server") == 0 && !haproxy_is_free_choice(of, l))
            model_guard_lost(s, l->line); /* noted as a line that is not known */
        if (!haproxy_is_http_rule(of, l))
            continue;
        model_lose(m, l->words, l->n, "HAProxy reads HTTP there, tls-off passes bytes");
        model_guard_lost(s, l->line);
    }
    put_levels(r);
    free(r);
    if (off)
        model_guard_lost(s, off->line);
    for (const struct haproxy_section *d = of->defaults; d; d = d->defaults) /* noted where they are */
        for (size_t i = 0; i < d->nlines; i++)
            if (haproxy_is_http_rule(of, &d->lines[i]) || (is_request(&d->lines[i]) && guards(&d->lines[i])))
                model_guard_lost(s, d->lines[i].line);
}
