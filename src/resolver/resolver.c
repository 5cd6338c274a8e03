/*
 * See resolver.h. A loop over poll(): this role has nothing to do while it waits for a name server, so it waits in
 * getaddrinfo() itself. Only the supervisor's messages are read.
 */
#include "resolver/resolver.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "conf/snapshot.h"
#include "process/child.h"
#include "resolver/names.h"

#define AGAIN_MS         30000
#define AFTER_FAILURE_MS 5000

struct resolver {
    struct child child;
    struct conf *conf;
    struct names names;
    bool started; /* GO has come */
    bool stop;
};

static void resolver_on_message(struct resolver *r, struct ipc_msg *m) {
    struct control_peer peer;
    if (m->type == CONTROL_LINK && control_read_peer(m, &peer) == 0 && peer.role == ROLE_RELAY && peer.index < WORKERS_MAX) {
        names_link(&r->names, peer.index, m->fds[0]);
        return;
    }
    if (m->type == CONTROL_GO)
        r->started = true;
    if (m->type == CONTROL_STOP)
        r->stop = true;
    ipc_msg_close(m); /* the rest is for other roles: nothing here drains, listens or owns a file */
}

/* Handles what the supervisor has sent; a lost or broken supervisor ends this process. */
static void resolver_control(struct resolver *r) {
    while (!r->stop) {
        struct ipc_msg m;
        int err = 0;
        switch (child_recv(&r->child, &m, &err)) {
        case STEP_DONE:
            resolver_on_message(r, &m);
            break;
        case STEP_WANT_READ:
            return;
        default:
            r->stop = true;
        }
    }
}

static void wait_for_message(struct resolver *r, int timeout_ms) {
    struct pollfd p = {.fd = r->child.control, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) < 0 && errno != EINTR)
        r->stop = true;
    else
        resolver_control(r);
}

/* All names once. True when all of them resolve. Listens between two names, as each may take long. */
static bool resolve_all(struct resolver *r) {
    bool ok = true;
    for (size_t i = 0; i < r->names.n && !r->stop; i++) {
        if (!names_resolve(&r->names.list[i], &r->child.log))
            ok = false;
        resolver_control(r);
    }
    return ok;
}

static void resolver_loop(struct resolver *r) {
    while (!r->started && !r->stop)
        wait_for_message(r, -1);
    bool reported_ready = false;
    while (!r->stop) {
        bool ok = resolve_all(r);
        ok = names_deliver(&r->names) && ok;
        uint64_t again_ms = clock_mono_ms() + (ok ? AGAIN_MS : AFTER_FAILURE_MS);
        if (!reported_ready && !r->stop && control_send(r->child.control, CONTROL_READY) != 0)
            r->stop = true;
        reported_ready = true;
        for (uint64_t now; !r->stop && (now = clock_mono_ms()) < again_ms;) {
            wait_for_message(r, (int)(again_ms - now));
            if (!names_deliver(&r->names)) /* a relay linked just now gets everything at once */
                again_ms = MIN(again_ms, clock_mono_ms() + AFTER_FAILURE_MS);
        }
    }
}

int resolver_run(int control_fd) {
    static struct resolver r;
    if (child_begin(&r.child, control_fd) < 0)
        return 1;
    int err = snapshot_read(r.child.snapshot_fd, &r.conf);
    close(r.child.snapshot_fd);
    if (err < 0) {
        child_refuse(&r.child, "resolver: cannot start: %s", err_text(err));
        return 1;
    }
    if (child_enter_sandbox(&r.child, &(struct sandbox){.user = r.conf->user}) < 0)
        return 1;
    r.child.log.level = r.conf->log_level;
    names_init(&r.names, r.conf);
    resolver_loop(&r);
    names_fini(&r.names);
    conf_free(r.conf);
    return 0;
}
