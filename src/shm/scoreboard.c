/*
 * Layout: one header, then a row per relay, then a row per handshaker, each beginning on a page, so that a process can have the
 * right to write its own alone. A row holds its sums, one counter a service, and two tables of what outsiders choose: clients,
 * and server names, so that neither can fill the table of the other. Last comes the table of the other instances. There is
 * each of them for a generation of even number and for one of odd number; a build before this one made them for one alone.
 *
 * A counter of a table is for sessions, or for handshakes under one limit: until_ns is a token bucket in one word, the time at
 * which all handshakes let in so far will be refilled.
 */
#include "shm/scoreboard.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/rand.h"
#include "shm/bounds.h"
#include "shm/counter_table.h"
#include "shm/relaxed.h"
#include "shm/shared.h"

#define SCOREBOARD_MAGIC 0x746f2d626f617264u /* "to-scoreboard" */
#define PAGE             4096u
#define NS               UINT64_C(1000000000)
#define PARITIES         2u /* as many generations as there may be at a time */

struct scoreboard_shared {
    uint64_t magic;
    uint16_t workers;
    uint16_t services;
    struct hash_key key;
};

struct service_counter {
    uint64_t until_ns; /* of its bucket of handshakes */
    uint32_t live;
    uint32_t unused;
};

struct scoreboard_row_shared {
    uint32_t sessions;
    uint32_t unused;
    struct service_counter services[SERVICES_MAX];
    struct counter_table clients, names;
};

#define WHOLE_PAGES(size) (((size) + PAGE - 1) / PAGE * PAGE)
#define ROW_SIZE          WHOLE_PAGES(sizeof(struct scoreboard_row_shared))
#define PEERS_SIZE        WHOLE_PAGES(sizeof(struct peers_table))

static size_t peers_off(uint16_t workers, uint16_t parities) {
    return PAGE + 2u * parities * workers * ROW_SIZE;
}

static size_t scoreboard_size(uint16_t workers, uint16_t parities) {
    return peers_off(workers, parities) + parities * PEERS_SIZE;
}

/* Those of relays come first. */
static size_t relay_rows(const struct scoreboard *b) {
    return (size_t)b->parities * b->workers;
}

static size_t all_rows(const struct scoreboard *b) {
    return 2 * relay_rows(b);
}

int scoreboard_create(uint16_t workers, uint16_t services, int *ret_fd) {
    MUST(workers > 0 && workers <= WORKERS_MAX && services <= SERVICES_MAX);
    struct scoreboard_shared head = {.magic = SCOREBOARD_MAGIC, .workers = workers, .services = services};
    rand_bytes(&head.key, sizeof(head.key));
    return shared_create("tls-off-scoreboard", scoreboard_size(workers, PARITIES), span_of(&head, sizeof(head)), ret_fd);
}

int scoreboard_map(int fd, uint32_t generation, struct scoreboard *ret) {
    size_t size;
    int err = shared_check(fd, PAGE, scoreboard_size(WORKERS_MAX, PARITIES), &size);
    if (err < 0)
        return err;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return ERR_SYSTEM;
    void *p = shared_map(fd, 0, size);
    if (!p)
        return ERR_SYSTEM;

    struct scoreboard b = {.shared = p, .size = size, .most = (uint32_t)MIN(files.rlim_cur, (rlim_t)UINT32_MAX)};
    b.workers = LOAD(&b.shared->workers);
    b.services = LOAD(&b.shared->services);
    b.parities = size == scoreboard_size(b.workers, 1) ? 1 : PARITIES;
    b.parity = (uint16_t)(generation % b.parities);
    if (b.shared->magic != SCOREBOARD_MAGIC || b.workers == 0 || b.workers > WORKERS_MAX || b.services > SERVICES_MAX ||
        size != scoreboard_size(b.workers, b.parities)) {
        munmap(p, size);
        return ERR_FORMAT;
    }
    *ret = b;
    return 0;
}

void scoreboard_unmap(struct scoreboard *b) {
    if (b->shared)
        munmap(b->shared, b->size);
    memset(b, 0, sizeof(*b));
}

static struct scoreboard_row_shared *row_at(const struct scoreboard *b, size_t n) {
    return (void *)((uint8_t *)b->shared + PAGE + n * ROW_SIZE);
}

static size_t row_number(const struct scoreboard *b, enum role role, uint16_t index) {
    MUST((role == ROLE_RELAY || role == ROLE_HANDSHAKER) && index < b->workers);
    return (role == ROLE_RELAY ? 0 : relay_rows(b)) + (size_t)b->parity * b->workers + index;
}

int scoreboard_open_row(struct scoreboard *b, int fd, enum role role, uint16_t index) {
    size_t n = row_number(b, role, index);
    return shared_make_writable(row_at(b, n), fd, PAGE + n * ROW_SIZE, ROW_SIZE) ? 0 : ERR_SYSTEM;
}

static size_t own_peers_off(const struct scoreboard *b) {
    return peers_off(b->workers, b->parities) + b->parity * PEERS_SIZE;
}

struct peers_table *scoreboard_peers(const struct scoreboard *b) {
    return (void *)((uint8_t *)b->shared + own_peers_off(b));
}

int scoreboard_open_peers(struct scoreboard *b, int fd) {
    return shared_make_writable(scoreboard_peers(b), fd, own_peers_off(b), PEERS_SIZE) ? 0 : ERR_SYSTEM;
}

struct scoreboard_row scoreboard_row(struct scoreboard *b, enum role role, uint16_t index) {
    return (struct scoreboard_row){b, row_at(b, row_number(b, role, index))};
}

void scoreboard_row_reset(struct scoreboard_row *r) {
    struct scoreboard_row_shared *s = r->shared;
    STORE(&s->sessions, 0);
    for (size_t i = 0; i < r->scoreboard->services; i++) { /* not the others: their pages are not to exist */
        STORE(&s->services[i].live, 0);
        STORE(&s->services[i].until_ns, 0);
    }
    counter_table_reset(&s->clients);
    counter_table_reset(&s->names);
}

void scoreboard_forget(int fd, uint32_t generation) {
    static const enum role roles[] = {ROLE_RELAY, ROLE_HANDSHAKER};
    struct scoreboard b;
    if (scoreboard_map(fd, generation, &b) < 0)
        return;
    for (size_t n = 0; n < ARRAY_LEN(roles) * b.workers; n++) {
        enum role role = roles[n / b.workers];
        uint16_t index = (uint16_t)(n % b.workers);
        struct scoreboard_row r = scoreboard_row(&b, role, index);
        if (scoreboard_open_row(&b, fd, role, index) == 0) /* else they count until the next generation has the row */
            scoreboard_row_reset(&r);
    }
    scoreboard_unmap(&b);
}

bool scoreboard_has_room_for_next(int fd) {
    struct scoreboard b;
    if (scoreboard_map(fd, 0, &b) < 0)
        return false;
    bool has_room = b.parities == PARITIES;
    scoreboard_unmap(&b);
    return has_room;
}

/* Counts never go below 0. */
static void change_by(uint32_t *counter, int change) {
    uint32_t now = LOAD(counter);
    if (change < 0)
        STORE(counter, now > (uint32_t)-change ? now - (uint32_t)-change : 0);
    else
        STORE(counter, now + (uint32_t)change);
}

static uint64_t tag_of(const struct scoreboard *b, const uint64_t words[static 3]) {
    uint64_t tag = hash_bytes(&b->shared->key, span_of(words, 3 * sizeof(words[0])));
    return tag ? tag : 1;
}

/* Of the sessions of a network (LIMIT 0), or of its handshakes under a limit. */
static uint64_t net_tag(const struct scoreboard *b, const struct addr_net *net, uint64_t limit) {
    uint64_t words[3];
    _Static_assert(sizeof(net->key) == 2 * sizeof(words[0]), "filled");
    memcpy(words, net->key, sizeof(net->key));
    words[2] = limit;
    return tag_of(b, words);
}

/* The same of a service's server name. */
static uint64_t name_tag(const struct scoreboard *b, uint16_t service, struct span name, uint64_t limit) {
    return tag_of(b, (uint64_t[]){hash_bytes(&b->shared->key, name), service, limit});
}

void scoreboard_service(struct scoreboard_row *r, uint16_t service, int change) {
    if (service < r->scoreboard->services)
        change_by(&r->shared->services[service].live, change);
}

void scoreboard_client(struct scoreboard_row *r, const struct addr *client, int change) {
    struct addr_net nets[ADDR_NETS];
    size_t n = addr_nets(client, nets);
    for (size_t i = 0; i < n; i++)
        counter_change(&r->shared->clients, net_tag(r->scoreboard, &nets[i], 0), change);
}

void scoreboard_name(struct scoreboard_row *r, uint16_t service, struct span name, int change) {
    counter_change(&r->shared->names, name_tag(r->scoreboard, service, name, 0), change);
}

void scoreboard_session(struct scoreboard_row *r, uint16_t service, const struct addr *client, int change) {
    change_by(&r->shared->sessions, change);
    scoreboard_service(r, service, change);
    scoreboard_client(r, client, change);
}

/* Whatever another process has written there. */
static uint32_t plausible(const struct scoreboard *b, uint32_t count) {
    return count <= b->most ? count : 0;
}

/* Over the first ROWS rows: those of relays come first. */
static uint64_t service_sum(const struct scoreboard *b, uint16_t service, size_t rows) {
    if (service >= b->services)
        return 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < rows; i++)
        sum += plausible(b, LOAD(&row_at(b, i)->services[service].live));
    return sum;
}

uint64_t scoreboard_service_sessions(const struct scoreboard *b, uint16_t service) {
    return service_sum(b, service, all_rows(b));
}

uint64_t scoreboard_service_established(const struct scoreboard *b, uint16_t service) {
    return service_sum(b, service, relay_rows(b));
}

/* What one network has over the first ROWS rows. */
static uint64_t net_sessions(const struct scoreboard *b, const struct addr_net *net, size_t rows) {
    uint64_t tag = net_tag(b, net, 0), sum = 0;
    for (size_t i = 0; i < rows; i++)
        sum += plausible(b, counter_read(&row_at(b, i)->clients, tag).live);
    return sum;
}

uint64_t scoreboard_client_sessions(const struct scoreboard *b, const struct addr *client) {
    struct addr_net nets[ADDR_NETS];
    return addr_nets(client, nets) ? net_sessions(b, &nets[0], all_rows(b)) : 0;
}

uint64_t scoreboard_net_tag(const struct scoreboard *b, const struct addr_net *net) {
    return net_tag(b, net, 0);
}

/* What others have of a network; nothing when they do not count. */
static struct peers_counts net_peers(const struct scoreboard *b, const struct addr_net *net, bool fleet, uint64_t now_ms) {
    struct peers_counts c = {0};
    if (fleet && peers_find(scoreboard_peers(b), net_tag(b, net, 0), now_ms, &c))
        return c;
    return (struct peers_counts){0};
}

static bool sessions_over(const struct scoreboard *b, const struct addr *client, struct scoreboard_limit limit, size_t rows,
                          uint64_t now_ms) {
    struct addr_net nets[ADDR_NETS];
    size_t n = addr_nets(client, nets);
    for (size_t i = 0; i < n; i++) {
        if (limit.most >= UINT64_MAX / nets[i].share)
            continue;
        uint64_t most = limit.most * nets[i].share, others = net_peers(b, &nets[i], limit.fleet, now_ms).sessions;
        if (others > most || net_sessions(b, &nets[i], rows) > most - others)
            return true;
    }
    return false;
}

bool scoreboard_client_over(const struct scoreboard *b, const struct addr *client, struct scoreboard_limit limit,
                            uint64_t now_ms) {
    return sessions_over(b, client, limit, all_rows(b), now_ms);
}

bool scoreboard_client_established_over(const struct scoreboard *b, const struct addr *client, uint64_t limit) {
    return sessions_over(b, client, (struct scoreboard_limit){limit, false}, relay_rows(b), 0);
}

static uint64_t name_sum(const struct scoreboard *b, uint16_t service, struct span name, size_t rows) {
    uint64_t tag = name_tag(b, service, name, 0), sum = 0;
    for (size_t i = 0; i < rows; i++)
        sum += plausible(b, counter_read(&row_at(b, i)->names, tag).live);
    return sum;
}

uint64_t scoreboard_name_sessions(const struct scoreboard *b, uint16_t service, struct span name) {
    return name_sum(b, service, name, all_rows(b));
}

uint64_t scoreboard_name_established(const struct scoreboard *b, uint16_t service, struct span name) {
    return name_sum(b, service, name, relay_rows(b));
}

/* ---- rates ---- */

/* One handshake costs a second at the most: what is later is nonsense, and refuses nobody. */
static uint64_t plausible_time(uint64_t until_ns, uint64_t now_ns) {
    return until_ns <= now_ns + 2 * NS ? until_ns : 0;
}

/* The bucket of all handshakers together is the latest of theirs; each one goes on from there in its own row. */
static uint64_t paid_until(const struct scoreboard *b, bool of_name, uint64_t tag, uint64_t now_ns) {
    uint64_t latest = 0;
    for (size_t i = relay_rows(b); i < all_rows(b); i++) {
        const struct scoreboard_row_shared *s = row_at(b, i);
        latest = MAX(latest, plausible_time(counter_read(of_name ? &s->names : &s->clients, tag).until_ns, now_ns));
    }
    return latest;
}

/* One handshake more from a bucket that is paid for until UNTIL_NS, which holds a second's worth. False when it is empty. */
static bool take_token(uint64_t *until_ns, uint64_t limit, uint64_t now_ns) {
    uint64_t until = MAX(*until_ns, now_ns > NS ? now_ns - NS : 0) + (limit < NS ? NS / limit : 0);
    *until_ns = until;
    return until <= now_ns;
}

/* A network's handshakes a second: its share of what a client may have, and of that what others leave. */
static uint64_t net_rate(const struct scoreboard *b, const struct addr_net *net, struct scoreboard_limit limit,
                         uint64_t now_ms) {
    uint64_t rate = limit.most < NS / net->share ? limit.most * net->share : NS;
    struct peers_counts c = net_peers(b, net, limit.fleet, now_ms);
    return peers_share(rate, c.own_handshakes, c.handshakes, c.at_handshakes);
}

bool scoreboard_handshake(struct scoreboard_row *r, const struct addr *client, struct scoreboard_limit limit, uint64_t now_ms) {
    struct addr_net nets[ADDR_NETS];
    uint64_t tags[ADDR_NETS], until[ADDR_NETS], now = now_ms * (NS / 1000);
    size_t n = addr_nets(client, nets);
    for (size_t i = n; i-- > 0;) { /* the widest network first: who has one cannot fill the table with its parts */
        tags[i] = net_tag(r->scoreboard, &nets[i], limit.most * 2 + limit.fleet);
        until[i] = paid_until(r->scoreboard, false, tags[i], now);
        if (!take_token(&until[i], net_rate(r->scoreboard, &nets[i], limit, now_ms), now))
            return false;
    }
    for (size_t i = 0; i < n; i++)
        counter_set_until(&r->shared->clients, tags[i], until[i]);
    return true;
}

bool scoreboard_name_handshake(struct scoreboard_row *r, uint16_t service, struct span name, uint64_t limit, uint64_t now_ms) {
    uint64_t tag = name_tag(r->scoreboard, service, name, limit), now = now_ms * (NS / 1000);
    uint64_t until = paid_until(r->scoreboard, true, tag, now);
    if (!take_token(&until, limit, now))
        return false;
    counter_set_until(&r->shared->names, tag, until);
    return true;
}

bool scoreboard_service_handshake(struct scoreboard_row *r, uint16_t service, uint64_t limit, uint64_t now_ms) {
    const struct scoreboard *b = r->scoreboard;
    uint64_t until = 0, now = now_ms * (NS / 1000);
    if (service >= b->services)
        return true;
    for (size_t i = relay_rows(b); i < all_rows(b); i++)
        until = MAX(until, plausible_time(LOAD(&row_at(b, i)->services[service].until_ns), now));
    if (!take_token(&until, limit, now))
        return false;
    STORE(&r->shared->services[service].until_ns, until);
    return true;
}

uint64_t scoreboard_client_rate(const struct scoreboard *b, uint64_t tag, uint64_t rate, uint64_t now_ms) {
    struct peers_counts c;
    if (!peers_find(scoreboard_peers(b), tag, now_ms, &c))
        return rate;
    return peers_share(rate, c.own_bytes, c.bytes, c.at_bytes);
}

uint32_t scoreboard_relay_sessions(const struct scoreboard *b, uint16_t index) {
    return index < b->workers ? LOAD(&row_at(b, row_number(b, ROLE_RELAY, index))->sessions) : 0;
}
