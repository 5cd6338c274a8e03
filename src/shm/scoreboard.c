/*
 * Layout: one header, then a row per relay, then a row per handshaker, each beginning on a page, so that a process can have the
 * right to write its own alone. A row holds its sums, one
 * counter a service and the client table.
 *
 * The client table is a set-associative table: 8 slots a set, found by a keyed hash, so clients cannot aim at a set. A slot
 * whose client has something alive is never given away; others are, the longest unused first. Clients for whom all 8 slots of
 * their set are taken share one more, so that who fills the table gains no more than one client may have. A count reads too
 * high then, or too low by what a client had in the shared slot before it got one of its own; never below 0. Memory and time
 * stay bounded whatever outsiders do.
 *
 * Only the pages written to exist. A row keeps one bit for each 64 sets that were ever used, so that readers do not call
 * pages into being by looking at them.
 */
#include "shm/scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/rand.h"
#include "shm/bounds.h"
#include "shm/shared.h"

#define SCOREBOARD_MAGIC 0x746f2d626f617264u /* "to-scoreboard" */
#define SCOREBOARD_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)
#define PAGE             4096u
#define SET_SLOTS        8u
#define SETS             16384u
#define SETS_A_GROUP     64u
#define NS               UINT64_C(1000000000)

/*
 * A slot is for sessions of a client, or for handshakes of a client under one limit. TAG is 0 while it is empty or reassigned.
 * UNTIL_NS is a token bucket in one word: the time at which all handshakes let in so far will be refilled.
 */
struct slot {
    uint64_t tag;
    uint64_t until_ns;
    uint32_t live;
    uint32_t unused;
};

struct scoreboard_shared {
    uint64_t magic;
    uint16_t workers;
    uint16_t services;
    struct hash_key key;
};

struct set {
    struct slot slots[SET_SLOTS];
    struct slot rest; /* of clients that found none; has no tag */
};

struct scoreboard_row_shared {
    uint64_t touched[SETS / SETS_A_GROUP / 64]; /* one bit per SETS_A_GROUP sets */
    uint32_t sessions;
    uint32_t services[SERVICES_MAX];
    struct set sets[SETS];
};

#define ROW_SIZE ((sizeof(struct scoreboard_row_shared) + PAGE - 1) / PAGE * PAGE)

#define LOAD(p)     __atomic_load_n((p), __ATOMIC_RELAXED)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)

static size_t scoreboard_size(uint16_t workers) {
    return PAGE + 2u * workers * ROW_SIZE;
}

int scoreboard_create(uint16_t workers, uint16_t services, int *ret_fd) {
    MUST(workers > 0 && workers <= WORKERS_MAX && services <= SERVICES_MAX);
    int fd = memfd_create("tls-off-scoreboard", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return ERR_SYSTEM;

    struct scoreboard_shared head = {.magic = SCOREBOARD_MAGIC, .workers = workers, .services = services};
    rand_bytes(&head.key, sizeof(head.key));
    if (ftruncate(fd, (off_t)scoreboard_size(workers)) < 0 || pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        fcntl(fd, F_ADD_SEALS, SCOREBOARD_SEALS | F_SEAL_SEAL) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return ERR_SYSTEM;
    }
    *ret_fd = fd;
    return 0;
}

int scoreboard_map(int fd, struct scoreboard *ret) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return ERR_SYSTEM;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SCOREBOARD_SEALS) != SCOREBOARD_SEALS) /* an unsealed one could be cut under our feet */
        return ERR_FORMAT;
    if (st.st_size < (off_t)PAGE || st.st_size > (off_t)scoreboard_size(WORKERS_MAX))
        return ERR_FORMAT;
    size_t size = (size_t)st.st_size;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return ERR_SYSTEM;
    void *p = shared_map(fd, 0, size);
    if (!p)
        return ERR_SYSTEM;

    struct scoreboard b = {.shared = p, .size = size, .most = (uint32_t)MIN(files.rlim_cur, (rlim_t)UINT32_MAX)};
    b.workers = LOAD(&b.shared->workers);
    b.services = LOAD(&b.shared->services);
    if (b.shared->magic != SCOREBOARD_MAGIC || b.workers == 0 || b.workers > WORKERS_MAX || b.services > SERVICES_MAX ||
        size != scoreboard_size(b.workers)) {
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
    return role == ROLE_RELAY ? index : (size_t)b->workers + index;
}

int scoreboard_open_row(struct scoreboard *b, int fd, enum role role, uint16_t index) {
    size_t n = row_number(b, role, index);
    return shared_make_writable(row_at(b, n), fd, PAGE + n * ROW_SIZE, ROW_SIZE) ? 0 : ERR_SYSTEM;
}

struct scoreboard_row scoreboard_row(struct scoreboard *b, enum role role, uint16_t index) {
    return (struct scoreboard_row){b, row_at(b, row_number(b, role, index))};
}

static bool touched(const struct scoreboard_row_shared *s, size_t set) {
    size_t group = set / SETS_A_GROUP;
    return LOAD(&s->touched[group / 64]) >> group % 64 & 1;
}

static void touch(struct scoreboard_row_shared *s, size_t set) {
    size_t group = set / SETS_A_GROUP;
    STORE(&s->touched[group / 64], LOAD(&s->touched[group / 64]) | UINT64_C(1) << group % 64);
}

static void clear(struct slot *slot) {
    STORE(&slot->live, 0);
    STORE(&slot->until_ns, 0);
}

void scoreboard_row_reset(struct scoreboard_row *r) {
    struct scoreboard_row_shared *s = r->shared;
    STORE(&s->sessions, 0);
    for (size_t i = 0; i < r->scoreboard->services; i++) /* not the others: their pages are not to exist */
        STORE(&s->services[i], 0);
    for (size_t n = 0; n < SETS; n++) {
        if (!touched(s, n))
            continue;
        struct set *set = &s->sets[n];
        for (size_t i = 0; i < SET_SLOTS; i++) {
            STORE(&set->slots[i].tag, 0);
            clear(&set->slots[i]);
        }
        clear(&set->rest);
    }
    for (size_t i = 0; i < ARRAY_LEN(s->touched); i++)
        STORE(&s->touched[i], 0);
}

/* Counts never go below 0: a client may have been tracked only after some of its sessions began. */
static void change_by(uint32_t *counter, int change) {
    uint32_t now = LOAD(counter);
    if (change < 0)
        STORE(counter, now > (uint32_t)-change ? now - (uint32_t)-change : 0);
    else
        STORE(counter, now + (uint32_t)change);
}

/* Of the sessions of a network (LIMIT 0), or of its handshakes under a limit. */
static uint64_t tag_of(const struct scoreboard *b, const struct addr_net *net, uint64_t limit) {
    uint64_t words[3];
    _Static_assert(sizeof(net->key) == 2 * sizeof(words[0]), "filled");
    memcpy(words, net->key, sizeof(net->key));
    words[2] = limit;
    uint64_t tag = hash_bytes(&b->shared->key, span_of(words, sizeof(words)));
    return tag ? tag : 1;
}

/* The client's own slot, or NULL. */
static struct slot *find_slot(struct scoreboard_row_shared *s, uint64_t tag) {
    size_t n = tag % SETS;
    if (!touched(s, n))
        return NULL;
    for (size_t i = 0; i < SET_SLOTS; i++)
        if (__atomic_load_n(&s->sets[n].slots[i].tag, __ATOMIC_ACQUIRE) == tag)
            return &s->sets[n].slots[i];
    return NULL;
}

/* An empty slot, or the one without live entries that refills first; NULL when all are alive. */
static struct slot *spare_slot(struct slot *set) {
    struct slot *oldest = NULL;
    for (size_t i = 0; i < SET_SLOTS; i++) {
        if (set[i].tag == 0)
            return &set[i];
        if (set[i].live == 0 && (!oldest || set[i].until_ns < oldest->until_ns))
            oldest = &set[i];
    }
    return oldest;
}

/* The client's own slot, found or taken, or the shared one. A reader that still holds the old tag of a slot looks at the tag
 * again after reading, so it never takes one client's count for another's. */
static struct slot *find_or_take(struct scoreboard_row_shared *s, uint64_t tag) {
    MUST(s);
    struct slot *slot = find_slot(s, tag);
    if (slot)
        return slot;
    struct set *set = &s->sets[tag % SETS];
    touch(s, tag % SETS);
    slot = spare_slot(set->slots);
    if (!slot)
        return &set->rest;
    STORE(&slot->tag, 0);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    clear(slot);
    __atomic_store_n(&slot->tag, tag, __ATOMIC_RELEASE);
    return slot;
}

void scoreboard_service(struct scoreboard_row *r, uint16_t service, int change) {
    if (service < r->scoreboard->services)
        change_by(&r->shared->services[service], change);
}

/* What began in the shared slot may end after the client got its own: the own one goes down first. */
static void change_live(struct scoreboard_row_shared *s, uint64_t tag, int change) {
    struct slot *slot = change > 0 ? find_or_take(s, tag) : find_slot(s, tag);
    if (change < 0 && (!slot || LOAD(&slot->live) == 0) && touched(s, tag % SETS))
        slot = &s->sets[tag % SETS].rest;
    if (slot)
        change_by(&slot->live, change);
}

void scoreboard_client(struct scoreboard_row *r, const struct addr *client, int change) {
    struct addr_net nets[ADDR_NETS];
    size_t n = addr_nets(client, nets);
    for (size_t i = 0; i < n; i++)
        change_live(r->shared, tag_of(r->scoreboard, &nets[i], 0), change);
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
        sum += plausible(b, LOAD(&row_at(b, i)->services[service]));
    return sum;
}

uint64_t scoreboard_service_sessions(const struct scoreboard *b, uint16_t service) {
    return service_sum(b, service, 2u * b->workers);
}

uint64_t scoreboard_service_established(const struct scoreboard *b, uint16_t service) {
    return service_sum(b, service, b->workers);
}

/* What a row has of one client: in its own slot, else in the shared one; nothing when the slot is being reassigned. */
static struct slot read_slot(struct scoreboard_row_shared *s, uint64_t tag) {
    const struct slot *slot = find_slot(s, tag);
    bool own = slot != NULL;
    if (!own && !touched(s, tag % SETS))
        return (struct slot){0};
    if (!own)
        slot = &s->sets[tag % SETS].rest;
    struct slot copy = {.live = LOAD(&slot->live), .until_ns = LOAD(&slot->until_ns)};
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (own && LOAD(&slot->tag) != tag)
        return (struct slot){0};
    return copy;
}

/* What one network has over the first ROWS rows. */
static uint64_t net_sessions(const struct scoreboard *b, const struct addr_net *net, size_t rows) {
    uint64_t tag = tag_of(b, net, 0), sum = 0;
    for (size_t i = 0; i < rows; i++)
        sum += plausible(b, read_slot(row_at(b, i), tag).live);
    return sum;
}

uint64_t scoreboard_client_sessions(const struct scoreboard *b, const struct addr *client) {
    struct addr_net nets[ADDR_NETS];
    return addr_nets(client, nets) ? net_sessions(b, &nets[0], 2u * b->workers) : 0;
}

static bool sessions_over(const struct scoreboard *b, const struct addr *client, uint64_t limit, size_t rows) {
    struct addr_net nets[ADDR_NETS];
    size_t n = addr_nets(client, nets);
    for (size_t i = 0; i < n; i++)
        if (limit < UINT64_MAX / nets[i].share && net_sessions(b, &nets[i], rows) > limit * nets[i].share)
            return true;
    return false;
}

bool scoreboard_client_over(const struct scoreboard *b, const struct addr *client, uint64_t limit) {
    return sessions_over(b, client, limit, 2u * b->workers);
}

bool scoreboard_client_established_over(const struct scoreboard *b, const struct addr *client, uint64_t limit) {
    return sessions_over(b, client, limit, b->workers);
}

/* ---- rates ---- */

/* The bucket of all handshakers together is the latest of theirs; each one goes on from there in its own row. */
static uint64_t paid_until(const struct scoreboard *b, uint64_t tag, uint64_t now_ns) {
    uint64_t latest = 0;
    for (size_t i = b->workers; i < 2u * b->workers; i++) {
        uint64_t until = read_slot(row_at(b, i), tag).until_ns;
        if (until <= now_ns + 2 * NS) /* one handshake costs a second at the most: later is nonsense, and refuses no client */
            latest = MAX(latest, until);
    }
    return latest;
}

bool scoreboard_handshake(struct scoreboard_row *r, const struct addr *client, uint64_t limit, uint64_t now_ms) {
    struct addr_net nets[ADDR_NETS];
    uint64_t tags[ADDR_NETS], until[ADDR_NETS], now = now_ms * (NS / 1000);
    size_t n = addr_nets(client, nets);
    for (size_t i = n; i-- > 0;) { /* the widest network first: who has one cannot fill the table with its parts */
        uint64_t cost = limit < NS / nets[i].share ? NS / (limit * nets[i].share) : 0;
        tags[i] = tag_of(r->scoreboard, &nets[i], limit);
        until[i] = MAX(paid_until(r->scoreboard, tags[i], now), now > NS ? now - NS : 0) + cost;
        if (until[i] > now)
            return false;
    }
    for (size_t i = 0; i < n; i++)
        STORE(&find_or_take(r->shared, tags[i])->until_ns, until[i]);
    return true;
}

uint32_t scoreboard_relay_sessions(const struct scoreboard *b, uint16_t index) {
    return index < b->workers ? LOAD(&row_at(b, index)->sessions) : 0;
}
