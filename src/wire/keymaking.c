#include "wire/keymaking.h"

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"

#define KEYMAKING_REQUEST_MIN 17
#define KEYMAKING_ANSWER_MIN  4
#define CERT_MIN              27

const struct ipc_rule keymaking_to_keymaker[] = {
    {KEYMAKING_REQUEST, 0, KEYMAKING_REQUEST_MIN, KEYMAKING_BODY_MAX},
    {0, 0, 0, 0},
};

const struct ipc_rule keymaking_to_acme[] = {
    {KEYMAKING_DONE, 0, KEYMAKING_ANSWER_MIN, KEYMAKING_BODY_MAX},
    {KEYMAKING_REFUSED, 0, KEYMAKING_ANSWER_MIN, KEYMAKING_BODY_MAX},
    {KEYMAKING_FAILED, 0, KEYMAKING_ANSWER_MIN, KEYMAKING_BODY_MAX},
    {0, 0, 0, 0},
};

const char *keymaking_op_name(enum keymaking_op op) {
    static const char *const names[] = {
#define NAME(symbol, name) name,
        KEYMAKING_OPS(NAME)
#undef NAME
    };
    return (unsigned)op < KEYMAKING_COUNT ? names[op] : "unknown";
}

int keymaking_send_request(int fd, const struct keymaking_request *q) {
    static uint8_t body[KEYMAKING_BODY_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, q->number);
    wr_u8(&w, (uint8_t)q->op);
    wr_u16(&w, q->issuer);
    wr_u16(&w, q->cert);
    wr_vec16(&w, q->url);
    wr_vec16(&w, q->nonce);
    wr_vec16(&w, q->account);
    wr_vec16(&w, q->data);
    return wr_end(&w) ? ipc_send(fd, KEYMAKING_REQUEST, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int keymaking_read_request(const struct ipc_msg *m, struct keymaking_request *ret) {
    struct rd r = rd_of(m->body);
    struct keymaking_request q = {.number = rd_u32(&r)};
    uint8_t op = rd_u8(&r);
    q.op = (enum keymaking_op)op;
    q.issuer = rd_u16(&r);
    q.cert = rd_u16(&r);
    q.url = rd_vec16(&r);
    q.nonce = rd_vec16(&r);
    q.account = rd_vec16(&r);
    q.data = rd_vec16(&r);
    bool fits = q.url.len <= KEYMAKING_URL_MAX && q.nonce.len <= KEYMAKING_NONCE_MAX && q.account.len <= KEYMAKING_URL_MAX &&
                q.data.len <= KEYMAKING_DATA_MAX;
    if (m->type != KEYMAKING_REQUEST || !rd_end(&r) || op >= KEYMAKING_COUNT || !fits)
        return ERR_FORMAT;
    *ret = q;
    return 0;
}

int keymaking_send_answer(int fd, const struct keymaking_answer *a) {
    static uint8_t body[KEYMAKING_BODY_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, a->number);
    wr_span(&w, a->data);
    return wr_end(&w) ? ipc_send(fd, (uint16_t)a->outcome, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int keymaking_read_answer(const struct ipc_msg *m, struct keymaking_answer *ret) {
    struct rd r = rd_of(m->body);
    struct keymaking_answer a = {.number = rd_u32(&r), .outcome = (enum keymaking_type)m->type};
    a.data = rd_bytes(&r, rd_left(&r));
    if (m->type < KEYMAKING_DONE || m->type > KEYMAKING_FAILED || !rd_end(&r))
        return ERR_FORMAT;
    *ret = a;
    return 0;
}

static int packed(const struct wr *w, size_t *ret_len) {
    *ret_len = w->len;
    return wr_end(w) ? 0 : ERR_LIMIT;
}

int keymaking_pack_order(const struct keymaking_order *o, void *to, size_t cap, size_t *ret_len) {
    struct wr w = wr_of(to, cap);
    wr_vec8(&w, o->profile);
    wr_vec8(&w, o->replaces);
    return packed(&w, ret_len);
}

int keymaking_unpack_order(struct span data, struct keymaking_order *ret) {
    struct rd r = rd_of(data);
    struct keymaking_order o = {.profile = rd_vec8(&r)};
    o.replaces = rd_vec8(&r);
    if (!rd_end(&r))
        return ERR_FORMAT;
    *ret = o;
    return 0;
}

int keymaking_pack_cert(const struct keymaking_cert *c, void *to, size_t cap, size_t *ret_len) {
    struct wr w = wr_of(to, cap);
    wr_u8(&w, c->from_issuer);
    wr_u8(&w, c->names_right);
    wr_u64(&w, (uint64_t)c->not_before);
    wr_u64(&w, (uint64_t)c->not_after);
    wr_u64(&w, c->version);
    wr_vec8(&w, c->issuer);
    wr_span(&w, c->ari);
    return packed(&w, ret_len);
}

int keymaking_unpack_cert(struct span data, struct keymaking_cert *ret) {
    struct rd r = rd_of(data);
    uint8_t from_issuer = rd_u8(&r), names_right = rd_u8(&r);
    struct keymaking_cert c = {.from_issuer = from_issuer == 1, .names_right = names_right == 1};
    c.not_before = (int64_t)rd_u64(&r);
    c.not_after = (int64_t)rd_u64(&r);
    c.version = rd_u64(&r);
    c.issuer = rd_vec8(&r);
    c.ari = rd_bytes(&r, rd_left(&r));
    if (data.len < CERT_MIN || !rd_end(&r) || from_issuer > 1 || names_right > 1 || c.ari.len > KEYMAKING_ARI_MAX)
        return ERR_FORMAT;
    *ret = c;
    return 0;
}
