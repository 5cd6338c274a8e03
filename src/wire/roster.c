/* A seqlock over one struct: odd while it is being written. Everything is copied in words, so that no word is ever torn. */
#include "wire/roster.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

#define ROSTER_MAGIC 0x746f2d726f737472u /* "to-rostr" */
#define ROSTER_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE)
#define READ_TRIES   1000

struct roster_shared {
    uint64_t magic;
    uint32_t layout;
    uint32_t size;
    uint64_t sequence;
    struct roster roster;
};

#define WORDS (sizeof(struct roster) / sizeof(uint64_t))
_Static_assert(sizeof(struct roster) % sizeof(uint64_t) == 0, "copied in words");

#define LOAD(p)     __atomic_load_n((p), __ATOMIC_RELAXED)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)

static const char *const phase_names[ROSTER_PHASES] = {"starting", "serving", "reloading", "draining", "stopping"};
static const char *const state_names[ROSTER_STATES] = {"none", "preparing", "ready", "hung", "leaving", "down"};
static const char *const result_names[ROSTER_RESULTS] = {"unknown", "queued", "running", "done", "refused"};

const char *roster_phase_name(uint32_t phase) {
    return phase < ROSTER_PHASES ? phase_names[phase] : "unknown";
}

const char *roster_state_name(uint8_t state) {
    return state < ROSTER_STATES ? state_names[state] : "unknown";
}

const char *roster_result_name(uint16_t result) {
    return result < ROSTER_RESULTS ? result_names[result] : "unknown";
}

static void *map(int fd, int protection) {
    void *p = mmap(NULL, sizeof(struct roster_shared), protection, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

int roster_create(int *ret_fd, struct roster_page *ret) {
    int fd = memfd_create("tls-off-roster", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return ERR_SYSTEM;
    /* sealed after our own mapping is made: no later one can be written through */
    struct roster_shared *s = ftruncate(fd, sizeof(*s)) == 0 ? map(fd, PROT_READ | PROT_WRITE) : NULL;
    if (!s || fcntl(fd, F_ADD_SEALS, ROSTER_SEALS | F_SEAL_SEAL) < 0) {
        int saved = errno;
        if (s)
            munmap(s, sizeof(*s));
        close(fd);
        errno = saved;
        return ERR_SYSTEM;
    }
    s->magic = ROSTER_MAGIC;
    s->layout = ROSTER_LAYOUT;
    s->size = sizeof(*s);
    *ret_fd = fd;
    ret->shared = s;
    return 0;
}

int roster_map(int fd, struct roster_page *ret) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return ERR_SYSTEM;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & ROSTER_SEALS) != ROSTER_SEALS || st.st_size != (off_t)sizeof(struct roster_shared))
        return ERR_FORMAT;
    struct roster_shared *s = map(fd, PROT_READ);
    if (!s)
        return ERR_SYSTEM;
    if (s->magic != ROSTER_MAGIC || s->layout != ROSTER_LAYOUT || s->size != sizeof(*s)) {
        munmap(s, sizeof(*s));
        return ERR_FORMAT;
    }
    ret->shared = s;
    return 0;
}

void roster_unmap(struct roster_page *p) {
    if (p->shared)
        munmap(p->shared, sizeof(*p->shared));
    p->shared = NULL;
}

void roster_write(struct roster_page *p, const struct roster *r) {
    const uint64_t *from = (const void *)r;
    uint64_t *to = (void *)&p->shared->roster;
    uint64_t sequence = LOAD(&p->shared->sequence);
    STORE(&p->shared->sequence, sequence + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (size_t i = 0; i < WORDS; i++)
        STORE(&to[i], from[i]);
    __atomic_store_n(&p->shared->sequence, sequence + 2, __ATOMIC_RELEASE);
}

bool roster_read(const struct roster_page *p, struct roster *ret) {
    const uint64_t *from = (const void *)&p->shared->roster;
    uint64_t *to = (void *)ret;
    for (unsigned tries = 0; tries < READ_TRIES; tries++) {
        uint64_t before = __atomic_load_n(&p->shared->sequence, __ATOMIC_ACQUIRE);
        for (size_t i = 0; !(before & 1) && i < WORDS; i++)
            to[i] = LOAD(&from[i]);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && LOAD(&p->shared->sequence) == before)
            return true;
        sched_yield();
    }
    return false;
}

const struct roster_command *roster_command(const struct roster *r, uint64_t id) {
    for (size_t i = 0; i < ROSTER_COMMANDS; i++)
        if (r->commands[i].kind && r->commands[i].id == id)
            return &r->commands[i];
    return NULL;
}
