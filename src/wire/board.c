/*
 * Layout: one header, then a row per relay, then a row per handshaker, each beginning on a page. A row holds its sums, one
 * counter a service and the client table.
 *
 * The client table is a set-associative table: 8 slots a set, found by a keyed hash, so clients cannot aim at a set. A slot
 * whose client has something alive is never given away; others are, the longest unused first. When all 8 slots of a set are
 * alive the client is not tracked: its count reads too low, never too high, and never below 0. Memory and time stay
 * bounded whatever outsiders do.
 *
 * Only the pages written to exist. A row keeps one bit for each 64 sets that were ever used, so that readers do not call
 * pages into being by looking at them.
 */
#include "wire/board.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/rand.h"

#define BOARD_MAGIC    0x746f2d626f617264u /* "to-board" */
#define BOARD_SEALS    (F_SEAL_SHRINK | F_SEAL_GROW)
#define PAGE           4096u
#define SET_SLOTS      8u
#define SETS           4096u
#define SETS_A_GROUP   (SETS / 64)
#define WINDOW_BITS    20
#define WINDOW_MAX     ((1u << WINDOW_BITS) - 1)
#define WINDOW_SECONDS 0xffffffu

/*
 * WINDOW is one word so that it is never seen half changed: the second it speaks of (24 bits, wraps after 194 days, which
 * can make one stale second look fresh), handshakes begun in that second and in the one before (20 bits each, saturating).
 * TAG is 0 while a slot is empty or changes hands.
 */
struct slot {
    uint64_t tag;
    uint64_t window;
    uint32_t live;
    uint32_t unused;
};

struct board_shared {
    uint64_t magic;
    uint16_t workers;
    uint16_t services;
    struct hash_key key;
};

struct board_row_shared {
    uint64_t touched; /* one bit per SETS_A_GROUP sets */
    uint32_t sessions;
    uint32_t services[CONF_SERVICES_MAX];
    struct slot slots[SETS][SET_SLOTS];
};

#define ROW_SIZE ((sizeof(struct board_row_shared) + PAGE - 1) / PAGE * PAGE)

#define LOAD(p)     __atomic_load_n((p), __ATOMIC_RELAXED)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)

static size_t board_size(uint16_t workers) {
    return PAGE + 2u * workers * ROW_SIZE;
}

int board_create(uint16_t workers, uint16_t services, int *ret_fd) {
    MUST(workers > 0 && workers <= CONF_WORKERS_MAX && services <= CONF_SERVICES_MAX);
    int fd = memfd_create("tls-off-board", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return ERR_SYSTEM;

    struct board_shared head = {.magic = BOARD_MAGIC, .workers = workers, .services = services};
    rand_bytes(&head.key, sizeof(head.key));
    if (ftruncate(fd, (off_t)board_size(workers)) < 0 || pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        fcntl(fd, F_ADD_SEALS, BOARD_SEALS | F_SEAL_SEAL) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return ERR_SYSTEM;
    }
    *ret_fd = fd;
    return 0;
}

int board_map(int fd, struct board *ret) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return ERR_SYSTEM;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & BOARD_SEALS) != BOARD_SEALS) /* an unsealed one could be cut under our feet */
        return ERR_FORMAT;
    if (st.st_size < (off_t)PAGE || st.st_size > (off_t)board_size(CONF_WORKERS_MAX))
        return ERR_FORMAT;
    size_t size = (size_t)st.st_size;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return ERR_SYSTEM;

    struct board b = {.shared = p, .size = size};
    b.workers = LOAD(&b.shared->workers);
    b.services = LOAD(&b.shared->services);
    if (b.shared->magic != BOARD_MAGIC || b.workers == 0 || b.workers > CONF_WORKERS_MAX || b.services > CONF_SERVICES_MAX ||
        size != board_size(b.workers)) {
        munmap(p, size);
        return ERR_FORMAT;
    }
    *ret = b;
    return 0;
}

void board_unmap(struct board *b) {
    if (b->shared)
        munmap(b->shared, b->size);
    memset(b, 0, sizeof(*b));
}

static struct board_row_shared *row_at(const struct board *b, size_t n) {
    return (void *)((uint8_t *)b->shared + PAGE + n * ROW_SIZE);
}

struct board_row board_row(struct board *b, enum role role, uint16_t index) {
    MUST((role == ROLE_RELAY || role == ROLE_HANDSHAKER) && index < b->workers);
    size_t n = role == ROLE_RELAY ? index : (size_t)b->workers + index;
    return (struct board_row){b, row_at(b, n)};
}

void board_row_reset(struct board_row *r) {
    struct board_row_shared *s = r->shared;
    STORE(&s->sessions, 0);
    for (size_t i = 0; i < CONF_SERVICES_MAX; i++)
        STORE(&s->services[i], 0);
    uint64_t touched = LOAD(&s->touched);
    for (size_t set = 0; set < SETS; set++) {
        if (!(touched >> set / SETS_A_GROUP & 1))
            continue;
        for (size_t i = 0; i < SET_SLOTS; i++) {
            struct slot *slot = &s->slots[set][i];
            STORE(&slot->tag, 0);
            STORE(&slot->live, 0);
            STORE(&slot->window, 0);
        }
    }
    STORE(&s->touched, 0);
}

/* Counts never go below 0: a client may have been tracked only after some of its sessions began. */
static void change_by(uint32_t *counter, int change) {
    uint32_t now = LOAD(counter);
    if (change < 0)
        STORE(counter, now > (uint32_t)-change ? now - (uint32_t)-change : 0);
    else
        STORE(counter, now + (uint32_t)change);
}

static uint64_t tag_of(const struct board *b, const uint8_t client[static 16]) {
    uint64_t tag = hash_bytes(&b->shared->key, span_of(client, 16));
    return tag ? tag : 1;
}

static struct slot *find(struct board_row_shared *s, uint64_t tag) {
    size_t set = tag % SETS;
    if (!(LOAD(&s->touched) >> set / SETS_A_GROUP & 1))
        return NULL;
    for (size_t i = 0; i < SET_SLOTS; i++)
        if (__atomic_load_n(&s->slots[set][i].tag, __ATOMIC_ACQUIRE) == tag)
            return &s->slots[set][i];
    return NULL;
}

static uint64_t window_of(uint32_t second, uint32_t now, uint32_t last) {
    return (uint64_t)(second & WINDOW_SECONDS) << 2 * WINDOW_BITS | (uint64_t)last << WINDOW_BITS | now;
}

static uint32_t window_second(uint64_t window) {
    return (uint32_t)(window >> 2 * WINDOW_BITS);
}

/* Handshakes counted in SECOND and in the one before it. */
static void window_read(uint64_t window, uint32_t second, uint32_t *ret_now, uint32_t *ret_last) {
    uint32_t age = (second - window_second(window)) & WINDOW_SECONDS;
    uint32_t now = (uint32_t)window & WINDOW_MAX;
    uint32_t last = (uint32_t)(window >> WINDOW_BITS) & WINDOW_MAX;
    *ret_now = age == 0 ? now : 0;
    *ret_last = age == 0 ? last : age == 1 ? now : 0;
}

/* An empty slot, or the one without live entries whose window is the oldest; NULL when all are alive. */
static struct slot *spare_slot(struct slot *set) {
    struct slot *oldest = NULL;
    for (size_t i = 0; i < SET_SLOTS; i++) {
        if (set[i].tag == 0)
            return &set[i];
        if (set[i].live == 0 && (!oldest || window_second(set[i].window) < window_second(oldest->window)))
            oldest = &set[i];
    }
    return oldest;
}

/* A reader that still holds the old tag looks at the tag again after reading, so it never takes one client's count for
 * another's. */
static struct slot *find_or_take(struct board_row_shared *s, uint64_t tag) {
    struct slot *slot = find(s, tag);
    if (slot)
        return slot;
    size_t set = tag % SETS;
    slot = spare_slot(s->slots[set]);
    if (!slot)
        return NULL;
    STORE(&slot->tag, 0);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    STORE(&slot->live, 0);
    STORE(&slot->window, 0);
    __atomic_store_n(&slot->tag, tag, __ATOMIC_RELEASE);
    STORE(&s->touched, LOAD(&s->touched) | UINT64_C(1) << set / SETS_A_GROUP);
    return slot;
}

void board_service(struct board_row *r, uint16_t service, int change) {
    if (service < r->board->services)
        change_by(&r->shared->services[service], change);
}

void board_client(struct board_row *r, const uint8_t client[static 16], int change) {
    uint64_t tag = tag_of(r->board, client);
    struct slot *slot = change > 0 ? find_or_take(r->shared, tag) : find(r->shared, tag);
    if (slot)
        change_by(&slot->live, change);
}

void board_session(struct board_row *r, uint16_t service, const uint8_t client[static 16], int change) {
    change_by(&r->shared->sessions, change);
    board_service(r, service, change);
    board_client(r, client, change);
}

void board_handshake(struct board_row *r, const uint8_t client[static 16], uint64_t now_ms) {
    struct slot *slot = find_or_take(r->shared, tag_of(r->board, client));
    if (!slot)
        return;
    uint32_t second = (uint32_t)(now_ms / 1000), now, last;
    window_read(slot->window, second, &now, &last);
    STORE(&slot->window, window_of(second, MIN(now + 1, WINDOW_MAX), last));
}

/* Over the first ROWS rows: those of relays come first. */
static uint64_t service_sum(const struct board *b, uint16_t service, size_t rows) {
    if (service >= b->services)
        return 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < rows; i++)
        sum += LOAD(&row_at(b, i)->services[service]);
    return sum;
}

uint64_t board_service_sessions(const struct board *b, uint16_t service) {
    return service_sum(b, service, 2u * b->workers);
}

uint64_t board_service_established(const struct board *b, uint16_t service) {
    return service_sum(b, service, b->workers);
}

/* A row's figures of one client; zero when it is not there or the slot changes hands just now. */
static void read_slot(struct board_row_shared *s, uint64_t tag, uint32_t *ret_live, uint64_t *ret_window) {
    struct slot *slot = find(s, tag);
    *ret_live = 0;
    *ret_window = 0;
    if (!slot)
        return;
    uint32_t live = LOAD(&slot->live);
    uint64_t window = LOAD(&slot->window);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (LOAD(&slot->tag) != tag)
        return;
    *ret_live = live;
    *ret_window = window;
}

static uint64_t client_sum(const struct board *b, const uint8_t client[static 16], size_t rows) {
    uint64_t tag = tag_of(b, client), sum = 0;
    for (size_t i = 0; i < rows; i++) {
        uint32_t live;
        uint64_t window;
        read_slot(row_at(b, i), tag, &live, &window);
        sum += live;
    }
    return sum;
}

uint64_t board_client_sessions(const struct board *b, const uint8_t client[static 16]) {
    return client_sum(b, client, 2u * b->workers);
}

uint64_t board_client_established(const struct board *b, const uint8_t client[static 16]) {
    return client_sum(b, client, b->workers);
}

/* The second before counts for the share of it that lies within the last 1000 ms. */
uint64_t board_client_handshakes(const struct board *b, const uint8_t client[static 16], uint64_t now_ms) {
    uint64_t tag = tag_of(b, client), now_sum = 0, last_sum = 0;
    for (size_t i = b->workers; i < 2u * b->workers; i++) {
        uint32_t live, now, last;
        uint64_t window;
        read_slot(row_at(b, i), tag, &live, &window);
        window_read(window, (uint32_t)(now_ms / 1000), &now, &last);
        now_sum += now;
        last_sum += last;
    }
    return now_sum + last_sum * (1000 - now_ms % 1000) / 1000;
}

uint32_t board_relay_sessions(const struct board *b, uint16_t index) {
    return index < b->workers ? LOAD(&row_at(b, index)->sessions) : 0;
}
