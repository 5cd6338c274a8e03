/* See backends.h. One pass over the list a pick: lists are short, and nothing has to be kept in order meanwhile. */
#include "relay/backends.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/rand.h"

/* Fixed, so that every relay and every machine of a fleet sends a client to the same backend. */
static const struct hash_key rendezvous_key = {0x746c732d6f666621, 0x72656e64657a766f};

void backends_init(struct backends *b, const struct conf_service *service) {
    MUST(service->nbackends <= CONF_BACKENDS_MAX);
    *b = (struct backends){.service = service, .turn = (uint32_t)rand_u64()};
    b->list = calloc(MAX(service->nbackends, 1u), sizeof(*b->list));
    MUST(b->list);
    for (size_t i = 0; i < service->nbackends; i++) {
        struct backend *x = &b->list[i];
        x->conf = &service->backends[i];
        x->id = hash_bytes(&rendezvous_key, span_str(x->conf->text));
        if (x->conf->kind == BACKEND_TCP && !x->conf->is_name) {
            x->addrs[0] = x->conf->addr;
            x->naddrs = 1;
        }
    }
}

void backends_fini(struct backends *b) {
    free(b->list);
    *b = (struct backends){0};
}

static bool is_in(const struct backend *x, uint64_t now_ms) {
    return x->out_until_ms <= now_ms && !x->half_open;
}

static uint64_t rendezvous_weight(const struct backend *x, const uint8_t client[static 16]) {
    uint8_t bytes[16 + sizeof(x->id)];
    memcpy(bytes, client, 16);
    memcpy(bytes + 16, &x->id, sizeof(x->id));
    return hash_bytes(&rendezvous_key, span_of(bytes, sizeof(bytes)));
}

/* Smaller is better; among equals the one met first wins. */
static uint64_t cost_of(const struct backends *b, const struct backend *x, const uint8_t client[static 16]) {
    switch (b->service->balance) {
    case BALANCE_LEAST_SESSIONS:
        return x->sessions;
    case BALANCE_CLIENT_HASH:
        return ~rendezvous_weight(x, client);
    case BALANCE_ROUND_ROBIN:
        break;
    }
    return 0;
}

uint16_t backends_pick(struct backends *b, const uint8_t client[static 16], uint64_t tried, uint64_t now_ms) {
    size_t n = b->service->nbackends;
    uint16_t best = BACKEND_NONE, last_hope = BACKEND_NONE;
    uint64_t best_cost = 0;
    /* Client-hash walks from the start: two backends written alike must not swap by turns. */
    uint32_t first = b->service->balance == BALANCE_CLIENT_HASH ? 0 : b->turn;
    for (size_t k = 0; k < n; k++) {
        uint16_t i = (uint16_t)((first + k) % n);
        if (tried >> i & 1)
            continue;
        const struct backend *x = &b->list[i];
        if (!is_in(x, now_ms)) {
            if (last_hope == BACKEND_NONE || x->out_until_ms < b->list[last_hope].out_until_ms)
                last_hope = i;
            continue;
        }
        uint64_t cost = cost_of(b, x, client);
        if (best == BACKEND_NONE || cost < best_cost) {
            best = i;
            best_cost = cost;
        }
    }
    if (best == BACKEND_NONE)
        best = last_hope;
    else if (b->list[best].failures >= BACKEND_FAILURES_OUT)
        b->list[best].half_open = true;
    if (best != BACKEND_NONE) {
        b->turn = best + 1u;
        b->list[best].sessions++;
    }
    return best;
}

void backends_join(struct backends *b, uint16_t i) {
    MUST(i < b->service->nbackends);
    b->list[i].sessions++;
}

void backends_leave(struct backends *b, uint16_t i) {
    MUST(i < b->service->nbackends && b->list[i].sessions > 0);
    b->list[i].sessions--;
    /* It may be the trial that was given up without an outcome. If it was another, one more session gets to try: no harm. */
    b->list[i].half_open = false;
}

bool backends_connected(struct backends *b, uint16_t i) {
    MUST(i < b->service->nbackends);
    struct backend *x = &b->list[i];
    bool was_out = x->failures >= BACKEND_FAILURES_OUT;
    x->failures = 0;
    x->out_until_ms = 0;
    x->full_since_ms = 0;
    x->half_open = false;
    return was_out;
}

static uint32_t put_out(struct backend *x, uint64_t now_ms) {
    uint32_t longest = x->conf->kind == BACKEND_TCP ? BACKEND_OUT_MAX_MS : BACKEND_OUT_UNIX_MS;
    uint32_t doubled = MIN(x->failures - BACKEND_FAILURES_OUT, 6u);
    uint32_t out_ms = MIN(1000u << doubled, longest);
    x->out_until_ms = now_ms + out_ms;
    return out_ms;
}

bool backends_failed(struct backends *b, uint16_t i, uint64_t now_ms, uint32_t *ret_out_ms) {
    MUST(i < b->service->nbackends);
    struct backend *x = &b->list[i];
    /* Connects begun before it was ejected give no information; counting them would jump the time from one second to sixty. */
    if (x->out_until_ms > now_ms)
        return false;
    x->full_since_ms = 0; /* it is something else now */
    x->half_open = false;
    if (x->failures < UINT32_MAX)
        x->failures++;
    if (x->failures < BACKEND_FAILURES_OUT)
        return false;
    *ret_out_ms = put_out(x, now_ms);
    return true;
}

bool backends_full(struct backends *b, uint16_t i, uint64_t now_ms, uint32_t *ret_out_ms) {
    MUST(i < b->service->nbackends);
    struct backend *x = &b->list[i];
    uint64_t patience_ms = MIN(b->service->connect_ms / 2, (uint64_t)BACKEND_STALL_MS);
    if (x->full_since_ms == 0)
        x->full_since_ms = now_ms;
    if (now_ms - x->full_since_ms < patience_ms || x->out_until_ms > now_ms)
        return false;
    x->half_open = false;
    x->failures = x->failures < BACKEND_FAILURES_OUT ? BACKEND_FAILURES_OUT : x->failures + (x->failures < UINT32_MAX);
    *ret_out_ms = put_out(x, now_ms);
    return true;
}

void backends_resolved(struct backends *b, uint16_t i, const struct addr *addrs, size_t n) {
    if (i >= b->service->nbackends || n == 0)
        return;
    struct backend *x = &b->list[i];
    if (x->conf->kind != BACKEND_TCP || !x->conf->is_name)
        return;
    x->naddrs = (uint8_t)MIN(n, (size_t)BACKEND_ADDRS_MAX);
    for (size_t k = 0; k < x->naddrs; k++) {
        x->addrs[k] = addrs[k];
        x->addrs[k].port = x->conf->port;
    }
    x->next_addr = 0;
    x->addrs_failed = 0;
}

uint8_t backends_addr(struct backends *b, uint16_t i, uint64_t now_ms) {
    MUST(i < b->service->nbackends);
    struct backend *x = &b->list[i];
    if (x->naddrs == 0)
        return 0;
    if (x->addrs_until_ms <= now_ms)
        x->addrs_failed = 0;
    uint8_t addr = x->next_addr % x->naddrs;
    for (uint8_t n = 0; n < x->naddrs && x->addrs_failed >> addr & 1; n++) /* when all have, all are as good */
        addr = (uint8_t)((addr + 1) % x->naddrs);
    x->next_addr = (uint8_t)((addr + 1) % x->naddrs);
    return addr;
}

void backends_addr_failed(struct backends *b, uint16_t i, uint8_t addr, uint64_t now_ms) {
    MUST(i < b->service->nbackends);
    struct backend *x = &b->list[i];
    if (addr >= x->naddrs)
        return;
    if (!x->addrs_failed)
        x->addrs_until_ms = now_ms + BACKEND_ADDR_OUT_MS;
    x->addrs_failed |= (uint16_t)(1u << addr);
}

static int unix_sockaddr(const struct conf_backend *c, struct sockaddr_storage *ret, socklen_t *ret_len) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = strlen(c->path);
    size_t before = c->kind == BACKEND_UNIX_ABSTRACT ? 1 : 0; /* the zero that marks the abstract namespace */
    size_t after = c->kind == BACKEND_UNIX ? 1 : 0;           /* the zero that ends a path */
    if (before + n + after > sizeof(un.sun_path))
        return ERR_LIMIT;
    memcpy(un.sun_path + before, c->path, n);
    *ret = (struct sockaddr_storage){0};
    memcpy(ret, &un, sizeof(un));
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + before + n + after);
    return 0;
}

int backends_sockaddr(const struct backends *b, uint16_t i, uint8_t addr, struct sockaddr_storage *ret, socklen_t *ret_len) {
    MUST(i < b->service->nbackends);
    const struct backend *x = &b->list[i];
    if (x->conf->kind != BACKEND_TCP)
        return unix_sockaddr(x->conf, ret, ret_len);
    if (x->naddrs == 0)
        return ERR_NOT_FOUND;
    *ret_len = addr_to_sockaddr(&x->addrs[addr % x->naddrs], ret);
    return 0;
}
