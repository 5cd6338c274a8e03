/*
 * One request at a time, each answered before the next one is read, so the only order that matters is that
 * of the asker. A key is read from its file for each request, and is gone from memory when the answer is made.
 */
#include "keymaker/keymaker.h"

#include "base/channel.h"
#include "base/err.h"
#include "keymaker/account.h"
#include "keymaker/fleet_keys.h"
#include "keymaker/installed.h"
#include "tls/secure_heap.h"

enum keymaker_kind { KEYMAKER_LINK = ROLE_CONTROL + 1 };

struct keymaker {
    struct child child;
    struct loop loop;
    struct conf *conf;
    struct accounts accounts;
    struct fleet_keys shared;
    struct channel acme;
};

/* ---- requests ---- */

/* ISSUER: of the one that is put into use. */
static int answer_cert(const struct conf_managed *cert, const struct keymaking_request *q, struct span issuer, uint8_t *to,
                       size_t cap, size_t *ret_len, struct text *why) {
    uint8_t ari[KEYMAKING_ARI_MAX];
    struct keymaking_cert c;
    int err = q->op == KEYMAKING_INSTALL ? installed_put(cert, q->data, why) : 0;
    if (err < 0)
        return err;
    installed_inspect(cert, ari, &c);
    c.issuer = issuer;
    return keymaking_pack_cert(&c, to, cap, ret_len);
}

static int answer_request(const struct keymaker *k, const struct keymaking_request *q, uint8_t *to, size_t cap, size_t *ret_len,
                          struct text *why) {
    const struct conf_acme *acme = &k->conf->acme;
    if (q->issuer >= acme->nissuers || q->cert >= acme->ncerts) {
        text_add(why, "no such issuer or certificate");
        return ERR_FORMAT;
    }
    uint8_t name[UINT8_MAX];
    struct span issuer = span_str(q->op == KEYMAKING_INSTALL ? acme->issuers[q->issuer].name : "");
    if (q->op == KEYMAKING_OPEN_CERT) {
        size_t n = 0;
        int err = fleet_keys_answer(&k->shared, q, name, sizeof(name), &n, why);
        if (err < 0)
            return err;
        issuer = span_of(name, n);
    } else if (fleet_keys_is_asked(q->op)) {
        return fleet_keys_answer(&k->shared, q, to, cap, ret_len, why);
    }
    if (q->op == KEYMAKING_INSTALL || q->op == KEYMAKING_INSPECT || q->op == KEYMAKING_OPEN_CERT)
        return answer_cert(&acme->certs[q->cert], q, issuer, to, cap, ret_len, why);
    struct text t = text_of((char *)to, cap);
    int err = accounts_answer(&k->accounts, q, &t, why);
    *ret_len = t.len;
    return err;
}

/* What is asked for, or comes with it, may be wrong, or belong to a key that is not there; the rest is this machine's fault. */
static enum keymaking_type outcome_of(int err) {
    bool refused = err == ERR_FORMAT || err == ERR_UNSUPPORTED || err == ERR_NOT_FOUND;
    return err == 0 ? KEYMAKING_DONE : refused ? KEYMAKING_REFUSED : KEYMAKING_FAILED;
}

/* Nonsense, or an asker that does not read its answers, ends the link; the supervisor makes another one with the next asker. */
static bool serve_acme(void *ctx, struct channel *c, struct ipc_msg *m) {
    static uint8_t data[KEYMAKING_BODY_MAX - 8];
    char line[1024];
    const struct keymaker *k = ctx;
    struct text why = text_of(line, sizeof(line));
    struct keymaking_request q;
    size_t len = 0;
    if (keymaking_read_request(m, &q) < 0)
        return false;
    int err = answer_request(k, &q, data, sizeof(data), &len, &why);
    if (err < 0 && why.len == 0)
        text_addf(&why, "%s: %s", keymaking_op_name(q.op), err_text(err));
    struct keymaking_answer a = {.number = q.number, .outcome = outcome_of(err)};
    a.data = err < 0 ? span_of(line, why.len) : span_of(data, len);
    err = keymaking_send_answer(c->fd, &a);
    secure_heap_wipe_stack();
    return err == 0 || err == ERR_CLOSED; /* its end comes as an event */
}

static void on_acme_closed(void *ctx, bool broken) {
    struct keymaker *k = ctx;
    if (broken)
        log_msg(&k->child.log, LOG_LEVEL_ERROR,
                "the acme role broke the rules with a request, and is not listened to any more");
}

static const struct channel_ops acme_ops = {.rules = keymaking_to_keymaker, .message = serve_acme, .closed = on_acme_closed};

static int link_keymaker_to_acme(void *ctx, const struct control_peer *peer, int fd) {
    struct keymaker *k = ctx;
    return channel_open(&k->acme, fd);
}

/* The heap of keys comes before the first use of libcrypto. */
static int keymaker_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    struct keymaker *k = ctx;
    int err = secure_heap_begin();
    channel_init(&k->acme, 1, &k->loop, KEYMAKER_LINK, &acme_ops, k);
    sandbox->user = NULL;
    sandbox->directory = k->conf->acme.dir;
    if (err == 0)
        err = accounts_init(&k->accounts, &k->conf->acme, why);
    return err == 0 ? fleet_keys_init(&k->shared, k->conf, why) : err;
}

static struct keymaker keymaker_process;
static const struct role_link keymaker_links[] = {{ROLE_ACME, link_keymaker_to_acme}, {0, NULL}};

const struct role_table keymaker_role = {
    .self = &keymaker_process,
    .child = &keymaker_process.child,
    .loop = &keymaker_process.loop,
    .conf = &keymaker_process.conf,
    .links = keymaker_links,
    .prepare = keymaker_prepare,
};
