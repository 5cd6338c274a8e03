#include "relay/services.h"

#include <stdlib.h>
#include <string.h>

#include "relay/backends.h"
#include "relay/relay.h"
#include "relay/session.h"

struct inherited {
    struct conf_service conf;
    struct conf_backend backend;
    uint32_t sessions;
    uint16_t counted_as;
    char texts[]; /* name, text and path of the backend */
};

/* Everything of a service but its conf. */
static bool begin_service(struct relay_service *to, const struct conf_service *conf) {
    struct list *waiters = malloc(sizeof(*waiters)); /* of its own: the table of services may move */
    if (!waiters)
        return false;
    list_init(waiters);
    *to = (struct relay_service){.conf = conf, .waiters = waiters};
    backends_init(&to->backends, conf);
    return true;
}

bool services_make(struct relay *r) {
    r->services = calloc(r->conf->nservices, sizeof(*r->services));
    if (!r->services)
        return false;
    for (size_t i = 0; i < r->conf->nservices; i++) {
        if (!begin_service(&r->services[i], &r->conf->services[i]))
            return false;
        r->nservices++;
    }
    return true;
}

uint16_t services_find(const struct relay *r, struct span name) {
    for (size_t i = 0; i < r->conf->nservices; i++)
        if (span_eq(span_str(r->conf->services[i].name), name))
            return (uint16_t)i;
    return SERVICES_NONE;
}

uint16_t services_backend(const struct relay *r, uint16_t service, struct span text) {
    const struct conf_service *c = r->services[service].conf;
    for (size_t i = 0; i < c->nbackends; i++)
        if (span_eq(span_str(c->backends[i].text), text))
            return (uint16_t)i;
    return BACKEND_NONE;
}

static char *put_text(char **at, struct span text) {
    char *p = *at;
    if (text.len)
        memcpy(p, text.p, text.len);
    p[text.len] = 0;
    *at += text.len + 1;
    return p;
}

/* NULL when out of memory. */
static struct inherited *make_inherited(const struct relay *r, const struct export_session *x) {
    struct inherited *a = calloc(1, sizeof(*a) + x->service.len + x->backend.len + x->backend_path.len + 3);
    if (!a)
        return NULL;
    char *at = a->texts;
    a->counted_as = services_find(r, x->service);
    if (a->counted_as != SERVICES_NONE) {
        a->conf = r->conf->services[a->counted_as];
    } else {
        a->conf.idle_ms = x->idle_timeout_ms;
        a->conf.linger_ms = x->linger_timeout_ms;
        a->conf.half_closed_ms = CONF_HALF_CLOSED_MS; /* neither comes with a session */
        a->conf.partial_record_ms = CONF_PARTIAL_RECORD_MS;
        a->conf.connect_ms = x->connect_timeout_ms;
        a->conf.truncation = (enum truncation)x->truncation;
        a->conf.mode = x->flags & EXPORT_TLS ? MODE_TERMINATE : MODE_PASSTHROUGH;
    }
    a->conf.name = put_text(&at, x->service);
    a->conf.nbackends = x->backend_kind ? 1 : 0;
    a->conf.backends = &a->backend;
    a->conf.balance = BALANCE_LEAST_SESSIONS;
    a->backend.kind = x->backend_kind ? (enum backend_kind)(x->backend_kind - 1) : BACKEND_UNIX;
    a->backend.text = put_text(&at, x->backend);
    a->backend.path = put_text(&at, x->backend_path);
    a->backend.is_name = true; /* no address came with it: none can be connected to again */
    return a;
}

static bool same_backend(const struct conf_service *a, const struct conf_service *b) {
    if (a->nbackends == 0 || b->nbackends == 0)
        return a->nbackends == b->nbackends;
    return a->backends->kind == b->backends->kind && strcmp(a->backends->text, b->backends->text) == 0 &&
           strcmp(a->backends->path, b->backends->path) == 0;
}

static bool same_service(const struct conf_service *a, const struct conf_service *b) {
    return strcmp(a->name, b->name) == 0 && same_backend(a, b) && a->idle_ms == b->idle_ms && a->linger_ms == b->linger_ms &&
           a->connect_ms == b->connect_ms && a->truncation == b->truncation && a->mode == b->mode;
}

/* A place for one more; NULL when there is none. The table may be reallocated: keep no pointer into it over a call. */
static struct relay_service *free_service_place(struct relay *r) {
    for (size_t i = r->conf->nservices; i < r->nservices; i++)
        if (!r->services[i].conf)
            return &r->services[i];
    if (r->nservices >= r->conf->nservices + SERVICES_INHERITED_MAX)
        return NULL;
    struct relay_service *more = realloc(r->services, (r->nservices + 1) * sizeof(*more));
    if (!more)
        return NULL;
    r->services = more;
    more[r->nservices] = (struct relay_service){0};
    return &more[r->nservices++];
}

uint16_t services_inherit(struct relay *r, const struct export_session *x) {
    struct inherited *a = make_inherited(r, x);
    if (!a)
        return SERVICES_NONE;
    for (size_t i = r->conf->nservices; i < r->nservices; i++) {
        if (r->services[i].conf && same_service(r->services[i].conf, &a->conf)) {
            free(a);
            r->services[i].inherited->sessions++;
            return (uint16_t)i;
        }
    }
    struct relay_service *place = free_service_place(r);
    if (!place || !begin_service(place, &a->conf)) {
        free(a);
        return SERVICES_NONE;
    }
    place->inherited = a;
    a->sessions = 1;
    return (uint16_t)(place - r->services);
}

void services_leave(struct relay *r, uint16_t service) {
    struct relay_service *s = &r->services[service];
    if (!s->inherited || --s->inherited->sessions > 0)
        return;
    backends_fini(&s->backends);
    free(s->waiters);
    free(s->inherited);
    *s = (struct relay_service){0};
}

uint16_t services_counted_as(const struct relay *r, uint16_t service) {
    const struct relay_service *s = &r->services[service];
    return s->inherited ? s->inherited->counted_as : service;
}
