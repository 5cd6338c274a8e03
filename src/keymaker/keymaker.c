/*
 * A loop over poll(): one request at a time, each answered before the next one is read, so the only order that matters is that
 * of the asker. A key is read from its file for each request, and is gone from memory when the answer is made.
 */
#include "keymaker/keymaker.h"

#include <errno.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "conf/snapshot.h"
#include "keymaker/account.h"
#include "keymaker/installed.h"
#include "process/child.h"
#include "tls/libcrypto.h"
#include "tls/secure_heap.h"

struct keymaker {
    struct child child;
    struct conf *conf;
    struct accounts accounts;
    int link;  /* to the acme role; -1 = none */
    bool gone; /* GO has come */
    bool ready;
    bool stop;
};

/* ---- requests ---- */

static int answer_cert(const struct conf_managed *cert, const struct keymaking_request *q, uint8_t *to, size_t cap,
                       size_t *ret_len, struct text *why) {
    uint8_t ari[KEYMAKING_ARI_MAX];
    struct keymaking_cert c;
    int err = q->op == KEYMAKING_INSTALL ? installed_put(cert, q->data, why) : 0;
    if (err < 0)
        return err;
    installed_inspect(cert, ari, &c);
    return keymaking_pack_cert(&c, to, cap, ret_len);
}

static int answer_request(const struct keymaker *k, const struct keymaking_request *q, uint8_t *to, size_t cap, size_t *ret_len,
                          struct text *why) {
    const struct conf_acme *acme = &k->conf->acme;
    if (q->issuer >= acme->nissuers || q->cert >= acme->ncerts) {
        text_add(why, "no such issuer or certificate");
        return ERR_FORMAT;
    }
    if (q->op == KEYMAKING_INSTALL || q->op == KEYMAKING_INSPECT)
        return answer_cert(&acme->certs[q->cert], q, to, cap, ret_len, why);
    struct text t = text_of((char *)to, cap);
    int err = accounts_answer(&k->accounts, q, &t, why);
    *ret_len = t.len;
    return err;
}

static bool serve_request(const struct keymaker *k, const struct ipc_msg *m) {
    static uint8_t data[KEYMAKING_BODY_MAX - 8];
    char line[1024];
    struct text why = text_of(line, sizeof(line));
    struct keymaking_request q;
    size_t len = 0;
    if (keymaking_read_request(m, &q) < 0)
        return false;
    int err = answer_request(k, &q, data, sizeof(data), &len, &why);
    if (err < 0 && why.len == 0)
        text_addf(&why, "%s: %s", keymaking_op_name(q.op), err_text(err));
    struct keymaking_answer a = {.number = q.number, .refused = err < 0};
    a.data = err < 0 ? span_of(line, why.len) : span_of(data, len);
    err = keymaking_send_answer(k->link, &a);
    secure_heap_wipe_stack();
    return err == 0;
}

static void drop_link(struct keymaker *k) {
    if (k->link >= 0)
        close(k->link);
    k->link = -1;
}

/* Nonsense, or an asker that does not read its answers, ends the link; the supervisor makes another one with the next asker. */
static void serve_link(struct keymaker *k) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    int err = 0;
    enum step step = ipc_recv(k->link, scratch, sizeof(scratch), keymaking_to_keymaker, &m, &err);
    if (step == STEP_WANT_READ)
        return;
    bool ok = step == STEP_DONE && serve_request(k, &m);
    if (step == STEP_DONE)
        ipc_msg_close(&m);
    if (ok)
        return;
    if (step != STEP_EOF)
        log_msg(&k->child.log, LOG_LEVEL_ERROR,
                "the acme role broke the rules with a request, and is not listened to any more");
    drop_link(k);
}

/* ---- the supervisor ---- */

static void keymaker_on_message(struct keymaker *k, struct ipc_msg *m) {
    struct control_peer peer;
    if (m->type == CONTROL_LINK && control_read_peer(m, &peer) == 0 && peer.role == ROLE_ACME) {
        drop_link(k);
        k->link = m->fds[0];
        m->nfds = 0;
    }
    k->gone = k->gone || m->type == CONTROL_GO;
    k->stop = k->stop || m->type == CONTROL_STOP;
    ipc_msg_close(m); /* the rest is for other roles */
}

static void keymaker_control(struct keymaker *k) {
    while (!k->stop) {
        struct ipc_msg m;
        int err = 0;
        switch (child_recv(&k->child, &m, &err)) {
        case STEP_DONE:
            keymaker_on_message(k, &m);
            break;
        case STEP_WANT_READ:
            return;
        default:
            k->stop = true;
        }
    }
}

static void keymaker_loop(struct keymaker *k) {
    while (!k->stop) {
        struct pollfd p[] = {{.fd = k->child.control, .events = POLLIN}, {.fd = k->link, .events = POLLIN}};
        if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
            return;
        if (p[1].revents)
            serve_link(k);
        keymaker_control(k);
        if (!k->ready && k->gone && control_send(k->child.control, CONTROL_READY) < 0)
            return;
        k->ready = k->ready || k->gone;
    }
}

/* All that takes other rights than those it keeps. */
static int keymaker_prepare(struct keymaker *k) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    int err = snapshot_read(k->child.snapshot_fd, &k->conf);
    close(k->child.snapshot_fd);
    if (err == 0)
        err = accounts_init(&k->accounts, &k->conf->acme, &why);
    if (err < 0)
        child_refuse(&k->child, "keymaker: cannot start: %s", why.len ? line : err_text(err));
    return err;
}

int keymaker_run(int control) {
    static struct keymaker k = {.link = -1};
    umask(077);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || secure_heap_install() < 0 || !libcrypto_begin() ||
        child_begin(&k.child, control) < 0 || keymaker_prepare(&k) < 0)
        return 1;
    k.child.log.level = k.conf->log_level;
    const struct sandbox sandbox = {.directory = k.conf->acme.dir};
    if (child_enter_sandbox(&k.child, &sandbox) < 0)
        return 1;
    keymaker_loop(&k);
    conf_free(k.conf);
    return 0;
}
