#include "conf/machine_defaults.h"

#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/text.h"
#include "conf/admin_keys.h"
#include "conf/cpus.h"
#include "conf/default_paths.h"
#include "conf/memory.h"
#include "conf/report.h"

#define DEFAULT_USER "tls-off"

static void set_state_dir(struct load *l) {
    char path[PATH_MAX];
    struct text t = text_of(path, sizeof(path));
    default_state_dir(&t);
    if (t.cut)
        load_error(l, (struct toml_pos){0, 0}, "state_dir",
                   "found a home directory with a name too long, expected at most %d bytes", PATH_MAX - 1);
    l->conf->state_dir = conf_strdup(l->conf, path);
}

/* The user to become matters to root only; a default user that the machine does not have is no reason to stop. */
static void settle_user(struct load *l) {
    struct conf *c = l->conf;
    const struct toml_node *given = l->node[KEY_USER];
    const char *user = c->user && c->user[0] ? c->user : given ? NULL : DEFAULT_USER;
    c->user = NULL;
    if (geteuid() != 0) {
        if (given && user)
            load_warning(l, given->at, "user", "found \"%s\", but it has no effect when not started as root", user);
        return;
    }
    if (!user)
        return;
    if (getpwnam(user))
        c->user = conf_strdup(l->conf, user);
    else if (given)
        load_error(l, given->at, "user", "found \"%s\", expected a user that this machine has", user);
    else
        load_warning(l, (struct toml_pos){0, 0}, "user", "this machine has no user \"%s\": staying root", user);
}

static void default_suites(struct load *l, struct conf_service *s) {
    uint16_t id = 0, version = 0;
    s->suites = conf_alloc(l->conf, CONF_LIST_MAX * sizeof(*s->suites));
    for (size_t i = 0; s->nsuites < CONF_LIST_MAX && l->capabilities->suite_at(i, &id, &version); i++)
        s->suites[s->nsuites++] = id;
}

static void default_groups(struct load *l, struct conf_service *s) {
    static const char *const wanted[] = {"X25519MLKEM768", "x25519", "secp256r1", "secp384r1", "secp521r1"};
    s->groups = conf_alloc(l->conf, sizeof(wanted) / sizeof(wanted[0]) * sizeof(*s->groups));
    for (size_t w = 0; w < ARRAY_LEN(wanted); w++) {
        uint16_t id = 0;
        bool usable = false;
        const char *name;
        for (size_t i = 0; (name = l->capabilities->group_at(i, &id, &usable)); i++)
            if (usable && strcasecmp(name, wanted[w]) == 0)
                s->groups[s->ngroups++] = id;
    }
}

/*
 * Budgets follow the memory of machine or container. What is configured counts, but a container that may take less than that is
 * killed before the budgets bound anything.
 */
static void settle_memory(struct load *l) {
    struct conf *c = l->conf;
    uint64_t usable = memory_usable(""), limit = memory_limit("");
    bool buffers = c->buffer_memory != 0, handshakes = c->handshake_memory != 0;
    if (!buffers)
        c->buffer_memory = memory_for_buffers(usable, c->workers);
    if (!handshakes)
        c->handshake_memory = memory_for_handshakes(usable, c->workers);
    uint64_t sum = c->workers * (c->buffer_memory + c->handshake_memory);
    if ((buffers || handshakes) && sum > limit)
        load_warning(l, load_top_at(l, buffers ? KEY_BUFFER_MEMORY : KEY_HANDSHAKE_MEMORY),
                     buffers ? "buffer_memory" : "handshake_memory",
                     "buffer_memory and handshake_memory of %u workers are %llu MiB, more than the %llu MiB that the cgroup "
                     "allows (memory.max): the kernel kills processes before these bounds are reached",
                     c->workers, (unsigned long long)(sum >> 20), (unsigned long long)(limit >> 20));
}

void load_environment(struct load *l) {
    struct conf *c = l->conf;
    uint32_t cpus = c->workers ? 0 : cpus_usable("");
    if (c->workers == 0)
        c->workers = MIN(cpus, (uint32_t)WORKERS_MAX);
    settle_memory(l);
    settle_user(l);
    if (!c->state_dir)
        set_state_dir(l);
    admin_defaults(l);
    check_admin(l);
    for (size_t i = 0; i < c->nservices; i++) {
        struct conf_service *s = &c->services[i];
        if (s->nsuites == 0)
            default_suites(l, s);
        if (s->ngroups == 0)
            default_groups(l, s);
    }
}
