/* A seqlock over one struct: odd while it is being written. Everything is copied in words, so that no word is ever torn. */
#include "shm/proctab.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "shm/relaxed.h"

#define PROCTAB_MAGIC 0x746f2d726f737472u /* "to-rostr" */
#define PROCTAB_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE)
#define READ_TRIES    1000

struct proctab_shared {
    uint64_t magic;
    uint32_t layout;
    uint32_t size;
    uint64_t sequence;
    struct proctab proctab;
};

#define PROCTAB_WORDS (sizeof(struct proctab) / sizeof(uint64_t))
_Static_assert(sizeof(struct proctab) % sizeof(uint64_t) == 0, "copied in words");

static const char *const phase_names[PROCTAB_PHASES] = {"starting", "serving", "reloading", "draining", "stopping"};
static const char *const state_names[PROCTAB_STATES] = {"none", "preparing", "ready", "hung", "leaving", "down"};
static const char *const result_names[PROCTAB_RESULTS] = {"unknown", "queued", "running", "done", "refused"};

const char *proctab_phase_name(uint32_t phase) {
    return phase < PROCTAB_PHASES ? phase_names[phase] : "unknown";
}

const char *proctab_state_name(uint8_t state) {
    return state < PROCTAB_STATES ? state_names[state] : "unknown";
}

const char *proctab_result_name(uint16_t result) {
    return result < PROCTAB_RESULTS ? result_names[result] : "unknown";
}

static void *map_proctab(int fd, int protection) {
    void *p = mmap(NULL, sizeof(struct proctab_shared), protection, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

int proctab_create(int *ret_fd, struct proctab_page *ret) {
    int fd = memfd_create("tls-off-proctab", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return ERR_SYSTEM;
    /* sealed after our own mapping is made: no later one can be written through */
    struct proctab_shared *s = ftruncate(fd, sizeof(*s)) == 0 ? map_proctab(fd, PROT_READ | PROT_WRITE) : NULL;
    if (!s || fcntl(fd, F_ADD_SEALS, PROCTAB_SEALS | F_SEAL_SEAL) < 0) {
        int saved = errno;
        if (s)
            munmap(s, sizeof(*s));
        close(fd);
        errno = saved;
        return ERR_SYSTEM;
    }
    s->magic = PROCTAB_MAGIC;
    s->layout = PROCTAB_LAYOUT;
    s->size = sizeof(*s);
    *ret_fd = fd;
    ret->shared = s;
    return 0;
}

int proctab_map(int fd, struct proctab_page *ret) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return ERR_SYSTEM;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & PROCTAB_SEALS) != PROCTAB_SEALS || st.st_size != (off_t)sizeof(struct proctab_shared))
        return ERR_FORMAT;
    struct proctab_shared *s = map_proctab(fd, PROT_READ);
    if (!s)
        return ERR_SYSTEM;
    if (s->magic != PROCTAB_MAGIC || s->layout != PROCTAB_LAYOUT || s->size != sizeof(*s)) {
        munmap(s, sizeof(*s));
        return ERR_FORMAT;
    }
    ret->shared = s;
    return 0;
}

void proctab_unmap(struct proctab_page *p) {
    if (p->shared)
        munmap(p->shared, sizeof(*p->shared));
    p->shared = NULL;
}

void proctab_write(struct proctab_page *p, const struct proctab *r) {
    const uint64_t *from = (const void *)r;
    uint64_t *to = (void *)&p->shared->proctab;
    uint64_t sequence = LOAD(&p->shared->sequence);
    STORE(&p->shared->sequence, sequence + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (size_t i = 0; i < PROCTAB_WORDS; i++)
        STORE(&to[i], from[i]);
    __atomic_store_n(&p->shared->sequence, sequence + 2, __ATOMIC_RELEASE);
}

bool proctab_read(const struct proctab_page *p, struct proctab *ret) {
    const uint64_t *from = (const void *)&p->shared->proctab;
    uint64_t *to = (void *)ret;
    for (unsigned tries = 0; tries < READ_TRIES; tries++) {
        uint64_t before = __atomic_load_n(&p->shared->sequence, __ATOMIC_ACQUIRE);
        for (size_t i = 0; !(before & 1) && i < PROCTAB_WORDS; i++)
            to[i] = LOAD(&from[i]);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && LOAD(&p->shared->sequence) == before)
            return true;
        sched_yield();
    }
    return false;
}

const struct proctab_command *proctab_command(const struct proctab *r, uint64_t id) {
    for (size_t i = 0; i < PROCTAB_COMMANDS; i++)
        if (r->commands[i].kind && r->commands[i].id == id)
            return &r->commands[i];
    return NULL;
}
