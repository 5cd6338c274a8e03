#include "config/config_role.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/ipc.h"
#include "conf/conf_access.h"
#include "conf/conf_creds.h"
#include "conf/snapshot.h"
#include "conf/ticket_secret.h"
#include "wire/control.h"

#define OTHER_PROTOCOL                                                                                                         \
    "tls-off " TLS_OFF_VERSION                                                                                                 \
    " cannot be taken up by the running version, which talks otherwise to its processes: it takes a "                          \
    "stop and a start"
#define TEXTS_MAX (3 * CONTROL_FLAGS_MAX + 3)

/* The request's texts as C strings. */
struct texts {
    char *all[TEXTS_MAX];
    size_t n;
};

static const char *copy_text(struct texts *t, struct span s) {
    char *copy = calloc(1, s.len + 1);
    MUST(copy && t->n < TEXTS_MAX);
    if (s.len)
        memcpy(copy, s.p, s.len);
    t->all[t->n++] = copy;
    return copy;
}

static size_t copy_texts(struct texts *t, const struct span *from, size_t n, const char **to) {
    for (size_t i = 0; i < n; i++)
        to[i] = copy_text(t, from[i]);
    return n;
}

static struct conf *load(const struct control_request *req, const struct conf_capabilities *capabilities,
                         struct diagnostics *f) {
    struct texts t = {.n = 0};
    const char *listen[CONTROL_FLAGS_MAX], *backend[CONTROL_FLAGS_MAX], *name[CONTROL_FLAGS_MAX];
    struct conf *c = NULL;
    if (req->file.len > 0) {
        c = conf_load_file(copy_text(&t, req->file), 0, capabilities, f);
    } else {
        const struct conf_flags flags = {.listen = listen,
                                         .nlisten = copy_texts(&t, req->listen, req->nlisten, listen),
                                         .backend = backend,
                                         .nbackend = copy_texts(&t, req->backend, req->nbackend, backend),
                                         .name = name,
                                         .nname = copy_texts(&t, req->name, req->nname, name),
                                         .directory = copy_text(&t, req->directory),
                                         .ca_file = copy_text(&t, req->ca_file)};
        c = conf_load_flags(&flags, capabilities, f);
    }
    for (size_t i = 0; i < t.n; i++)
        free(t.all[i]);
    return c;
}

/* Waits for room where the queue is full; there is one message, and nothing else to do. */
static bool wait_room(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

static int send_refused(int fd, struct span text) {
    int err;
    do {
        err = control_send_text(fd, CONTROL_REFUSED, text, NULL, 0);
    } while (err == ERR_AGAIN && wait_room(fd));
    return err;
}

static int answer_configured(int fd, struct span warnings, const int fds[static 4]) {
    const struct control_configured c = {.version = span_str(TLS_OFF_VERSION), .warnings = warnings};
    int err;
    do {
        err = control_send_configured(fd, &c, fds);
    } while (err == ERR_AGAIN && wait_room(fd));
    return err;
}

/* What was read again: TYPE with one descriptor. */
static int answer_read(int fd, enum control_type type, struct span warnings, int what) {
    int err;
    do {
        err = control_send_text(fd, type, warnings, &what, 1);
    } while (err == ERR_AGAIN && wait_room(fd));
    return err;
}

static int answer_conf(int fd, struct conf *c, const struct conf_capabilities *capabilities, const struct diagnostics *f) {
    int fds[4] = {-1, -1, -1, -1};
    char text[PATH_MAX + 256] = "";
    struct text reason = text_of(text, sizeof(text));
    int err = snapshot_write(c, &fds[0]);
    if (err == 0)
        err = ticket_secrets_memfd(c->ticket_secrets, c->nticket_secrets, &fds[1], &reason);
    if (err == 0)
        err = capabilities->seal(capabilities->creds, &fds[2]);
    if (err == 0)
        err = access_seal(capabilities->access, &fds[3]);
    if (err == 0) {
        err = answer_configured(fd, span_of(f->text, f->len), fds);
    } else {
        struct diagnostics why;
        diagnostics_init(&why);
        diagnostics_add(&why, true, "configuration", NULL, "cannot be handed over: %s",
                        reason.len         ? text
                        : err == ERR_LIMIT ? "it is too large"
                                           : strerror(errno));
        err = send_refused(fd, span_of(why.text, why.len));
        diagnostics_fini(&why);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]); /* memory only */
    return err;
}

/* Only what the certificates' keys of the running configuration name is read. */
static int serve_creds(int fd, const struct ipc_msg *m, const struct conf_capabilities *capabilities) {
    struct conf *c = NULL;
    struct diagnostics f;
    int store = -1;
    int err = snapshot_read(m->fds[0], &c, NULL);
    if (err)
        return err;
    diagnostics_init(&f);
    bool ok = conf_creds_load(c, capabilities, &f);
    if (ok && capabilities->seal(capabilities->creds, &store) < 0) {
        diagnostics_add(&f, true, "certificates", NULL, "the store cannot be made: %s", strerror(errno));
        ok = false;
    }
    err = ok ? answer_read(fd, CONTROL_CREDS_READ, span_of(f.text, f.len), store) : send_refused(fd, span_of(f.text, f.len));
    if (store >= 0)
        (void)close(store); /* memory only */
    diagnostics_fini(&f);
    conf_free(c);
    return err;
}

/* Lists that cannot be read are in the new table as they are in the old one. */
static int serve_access(int fd, const struct ipc_msg *m) {
    struct conf *c = NULL;
    struct diagnostics f;
    struct access old;
    struct access_writer *w = access_writer_new();
    int table = -1, err = w ? snapshot_read(m->fds[0], &c, NULL) : ERR_NOMEM;
    if (err) {
        access_writer_free(w);
        return err;
    }
    diagnostics_init(&f);
    bool has_old = access_map(m->fds[1], &old) == 0;
    bool ok = conf_access_load(c, w, has_old ? &old : NULL, &f);
    if (ok && access_seal(w, &table) < 0) {
        diagnostics_add(&f, true, "access lists", NULL, "the table cannot be made: %s", strerror(errno));
        ok = false;
    }
    err = ok ? answer_read(fd, CONTROL_ACCESS_READ, span_of(f.text, f.len), table) : send_refused(fd, span_of(f.text, f.len));
    if (table >= 0)
        (void)close(table); /* memory only */
    if (has_old)
        access_unmap(&old);
    access_writer_free(w);
    diagnostics_fini(&f);
    conf_free(c);
    return err;
}

/* The files of the running configuration, all of them or none. */
static int serve_secrets(int fd, const struct ipc_msg *m) {
    char text[PATH_MAX + 256] = "";
    struct text reason = text_of(text, sizeof(text));
    struct conf *c = NULL;
    int secrets = -1, err = snapshot_read(m->fds[0], &c, NULL);
    if (err)
        return err;
    err = ticket_secrets_memfd(c->ticket_secrets, c->nticket_secrets, &secrets, &reason);
    if (err == 0)
        err = answer_read(fd, CONTROL_SECRETS_READ, span_str(""), secrets);
    else
        err = send_refused(fd, reason.len ? span_of(text, reason.len) : span_str(strerror(errno)));
    if (secrets >= 0)
        (void)close(secrets); /* memory only */
    conf_free(c);
    return err;
}

static int serve_request(int fd, const struct ipc_msg *m, const struct conf_capabilities *capabilities) {
    struct control_request req;
    struct diagnostics f;
    if (m->type == CONTROL_REQUEST_CREDS)
        return serve_creds(fd, m, capabilities);
    if (m->type == CONTROL_REQUEST_ACCESS)
        return serve_access(fd, m);
    if (m->type == CONTROL_REQUEST_SECRETS)
        return serve_secrets(fd, m);
    int err = m->type == CONTROL_REQUEST ? control_read_request(m, &req) : ERR_FORMAT;
    if (err == ERR_UNSUPPORTED)
        return send_refused(fd, span_str(OTHER_PROTOCOL));
    if (err)
        return err;
    diagnostics_init(&f);
    struct conf_capabilities with_held = *capabilities;
    with_held.held = req.held;
    with_held.nheld = req.nheld;
    struct conf *c = load(&req, &with_held, &f);
    err = c ? answer_conf(fd, c, capabilities, &f) : send_refused(fd, span_of(f.text, f.len));
    conf_free(c);
    diagnostics_fini(&f);
    return err;
}

int config_role_run(int control_fd, const struct conf_capabilities *capabilities) {
    size_t cap = IPC_BODY_MAX + 2;
    void *scratch = malloc(cap);
    MUST(scratch);
    struct ipc_msg m;
    enum step step = STEP_WANT_READ;
    int err = 0;
    while (step == STEP_WANT_READ) {
        struct pollfd p = {.fd = control_fd, .events = POLLIN};
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            break;
        step = ipc_recv(control_fd, scratch, cap, control_to_child, &m, &err);
    }
    int ret = 1;
    if (step == STEP_DONE) {
        ret = serve_request(control_fd, &m, capabilities) == 0 ? 0 : 1;
        ipc_msg_close(&m);
    }
    free(scratch);
    return ret;
}
