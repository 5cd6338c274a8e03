/* See names.h. */
#include "resolver/names.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"

static bool is_named(const struct conf_backend *b) {
    return b->kind == BACKEND_TCP && b->is_name;
}

static size_t count_named(const struct conf *conf) {
    size_t n = 0;
    for (size_t s = 0; s < conf->nservices; s++)
        for (size_t b = 0; b < conf->services[s].nbackends; b++)
            n += is_named(&conf->services[s].backends[b]);
    return n;
}

void names_init(struct names *t, const struct conf *conf) {
    *t = (struct names){0};
    size_t n = MAX(count_named(conf), 1u);
    t->list = calloc(n, sizeof(*t->list));
    MUST(t->list);
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        t->relays[i].fd = -1;
        t->relays[i].sent = calloc(n, sizeof(*t->relays[i].sent));
        MUST(t->relays[i].sent);
    }
    for (size_t s = 0; s < conf->nservices; s++) {
        const struct conf_service *service = &conf->services[s];
        for (size_t b = 0; b < service->nbackends; b++)
            if (is_named(&service->backends[b]))
                t->list[t->n++] = (struct name){.service = service,
                                                .backend = &service->backends[b],
                                                .now = {.service = (uint16_t)s, .backend = (uint16_t)b}};
    }
}

void names_fini(struct names *t) {
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        if (t->relays[i].fd >= 0)
            close(t->relays[i].fd);
        free(t->relays[i].sent);
    }
    free(t->list);
    *t = (struct names){0};
}

void names_link(struct names *t, uint16_t index, int fd) {
    MUST(index < WORKERS_MAX);
    struct names_relay *r = &t->relays[index];
    if (r->fd >= 0)
        close(r->fd);
    r->fd = fd;
    memset(r->sent, 0, MAX(t->n, 1u) * sizeof(*r->sent));
}

static bool has_addr(const struct resolved *r, const struct addr *a) {
    for (size_t i = 0; i < r->n; i++)
        if (r->addrs[i].family == a->family && r->addrs[i].port == a->port && memcmp(r->addrs[i].ip, a->ip, sizeof(a->ip)) == 0)
            return true;
    return false;
}

/* In another order they are the same: name servers turn their answers round. Neither side holds an address twice. */
static bool same_addrs(const struct resolved *a, const struct resolved *b) {
    for (size_t i = 0; i < a->n; i++)
        if (!has_addr(b, &a->addrs[i]))
            return false;
    return a->n == b->n;
}

static void collect_addresses(const struct addrinfo *list, uint16_t port, struct resolved *to) {
    for (const struct addrinfo *ai = list; ai && to->n < RESOLVED_ADDRS_MAX; ai = ai->ai_next) {
        struct sockaddr_storage ss = {0};
        struct addr a;
        memcpy(&ss, ai->ai_addr, MIN((size_t)ai->ai_addrlen, sizeof(ss)));
        addr_from_sockaddr(&ss, &a);
        a.port = port;
        if (a.family != AF_UNSPEC && !has_addr(to, &a))
            to->addrs[to->n++] = a;
    }
}

static void say_failed(const struct name *x, int failure, int why, struct log *log) {
    log_msg(log, LOG_LEVEL_WARNING, "service %s: the name of backend %s does not resolve: %s; %s", x->service->name,
            x->backend->text, failure == EAI_SYSTEM ? strerror(why) : gai_strerror(failure),
            x->now.n ? "its last known addresses stay in use" : "it cannot be used until it does");
}

static void say_changed(const struct name *x, struct log *log) {
    char line[(ADDR_TEXT_MAX + 2) * RESOLVED_ADDRS_MAX], one[ADDR_TEXT_MAX];
    struct text t = text_of(line, sizeof(line));
    for (size_t i = 0; i < x->now.n; i++)
        text_addf(&t, "%s%s", i ? ", " : "", addr_text(&x->now.addrs[i], one));
    log_msg(log, LOG_LEVEL_INFO, "service %s: backend %s is at %s", x->service->name, x->backend->text, line);
}

bool names_resolve(struct name *x, struct log *log) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct resolved fresh = {.service = x->now.service, .backend = x->now.backend};
    struct addrinfo *list = NULL;
    int failure = getaddrinfo(x->backend->path, NULL, &hints, &list);
    int why = errno;
    if (failure == 0) {
        collect_addresses(list, x->backend->port, &fresh);
        freeaddrinfo(list);
        if (fresh.n == 0)
            failure = EAI_NONAME;
    }
    int before = x->failure;
    x->failure = failure;
    if (failure != 0) {
        if (failure != before)
            say_failed(x, failure, why, log);
        return false;
    }
    if (same_addrs(&fresh, &x->now)) {
        if (before != 0)
            log_msg(log, LOG_LEVEL_INFO, "service %s: the name of backend %s resolves again, to the same addresses",
                    x->service->name, x->backend->text);
        return true;
    }
    x->now = fresh;
    x->version++;
    say_changed(x, log);
    return true;
}

/* False when the relay could not take all of it now. */
static bool deliver_to(struct names *t, struct names_relay *r) {
    for (size_t i = 0; i < t->n; i++) {
        if (r->sent[i] == t->list[i].version)
            continue;
        int err = resolved_send(r->fd, &t->list[i].now);
        if (err == 0) {
            r->sent[i] = t->list[i].version;
            continue;
        }
        if (err != ERR_AGAIN) { /* gone; the supervisor links its successor */
            close(r->fd);
            r->fd = -1;
        }
        return false;
    }
    return true;
}

bool names_deliver(struct names *t) {
    bool all = true;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (t->relays[i].fd >= 0 && !deliver_to(t, &t->relays[i]))
            all = false;
    return all;
}
