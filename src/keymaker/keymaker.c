/*
 * One request at a time, each answered before the next one is read, so the only order that matters is that
 * of the asker. A key is read from its file for each request, and is gone from memory when the answer is made.
 */
#include "keymaker/keymaker.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "keymaker/account.h"
#include "keymaker/installed.h"
#include "tls/secure_heap.h"

enum keymaker_kind { KEYMAKER_LINK = ROLE_CONTROL + 1 };

struct keymaker {
    struct child child;
    struct loop loop;
    struct conf *conf;
    struct accounts accounts;
    int link; /* to the acme role; -1 = none */
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
    if (k->link < 0)
        return;
    loop_unwatch(&k->loop, k->link);
    close(k->link);
    k->link = -1;
}

/* Nonsense, or an asker that does not read its answers, ends the link; the supervisor makes another one with the next asker. */
static void serve_link(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct keymaker *k = ctx;
    struct ipc_msg m;
    int err = 0;
    if (k->link < 0 || (uint32_t)k->link != key)
        return;
    enum step step = ipc_recv(k->link, scratch, sizeof(scratch), keymaking_to_keymaker, &m, &err);
    if (step == STEP_WANT_READ || (step == STEP_DONE && serve_request(k, &m)))
        return;
    if (step != STEP_EOF)
        log_msg(&k->child.log, LOG_LEVEL_ERROR,
                "the acme role broke the rules with a request, and is not listened to any more");
    drop_link(k);
}

static int take_acme(void *ctx, const struct control_peer *peer, int fd) {
    struct keymaker *k = ctx;
    drop_link(k);
    k->link = fd;
    if (loop_watch(&k->loop, fd, EPOLLIN, KEYMAKER_LINK, (uint32_t)fd, 0) == 0)
        return 0;
    drop_link(k);
    return ERR_SYSTEM;
}

/* The heap of keys comes before the first use of libcrypto. */
static int keymaker_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    struct keymaker *k = ctx;
    int err = secure_heap_begin();
    sandbox->user = NULL;
    sandbox->directory = k->conf->acme.dir;
    return err == 0 ? accounts_init(&k->accounts, &k->conf->acme, why) : err;
}

static struct keymaker keymaker_process = {.link = -1};
static const struct role_link keymaker_links[] = {{ROLE_ACME, take_acme}, {0, NULL}};
static const struct loop_handler keymaker_handlers[] = {{KEYMAKER_LINK, serve_link}, {0, NULL}};

const struct role_table keymaker_role = {
    .self = &keymaker_process,
    .child = &keymaker_process.child,
    .loop = &keymaker_process.loop,
    .conf = &keymaker_process.conf,
    .links = keymaker_links,
    .handlers = keymaker_handlers,
    .prepare = keymaker_prepare,
};
