#include "wire/sign.h"

#include "base/err.h"
#include "base/rd.h"

#define SIGN_REQUEST_MIN 21 /* at least one byte to be signed; its shape is looked at later */
#define SIGN_ANSWER_MIN  12

const struct ipc_rule sign_to_signer[] = {
    {SIGN_REQUESTS, 0, SIGN_REQUEST_MIN, SIGN_REQUESTS_MAX},
    {0, 0, 0, 0},
};

const struct ipc_rule sign_to_handshaker[] = {
    {SIGN_ANSWERS, 0, SIGN_ANSWER_MIN, SIGN_ANSWERS_MAX},
    {0, 0, 0, 0},
};

void sign_put_request(struct wr *w, const struct sign_request *r) {
    wr_u64(w, r->number);
    wr_u32(w, r->set);
    wr_u32(w, r->key);
    wr_u16(w, r->scheme);
    wr_vec16(w, r->tbs);
    w->bad = w->bad || r->tbs.len == 0 || r->tbs.len > SIGN_TBS_MAX;
}

/* A refusal has no signature, and a signature no reason. */
void sign_put_answer(struct wr *w, const struct sign_answer *a) {
    wr_u64(w, a->number);
    wr_u16(w, (uint16_t)-a->err);
    wr_vec16(w, a->err ? span_of(NULL, 0) : a->signature);
    w->bad = w->bad || (!a->err && (a->signature.len == 0 || a->signature.len > SIGN_SIGNATURE_MAX));
}

static struct sign_request read_request(struct rd *r) {
    struct sign_request q;
    q.number = rd_u64(r);
    q.set = rd_u32(r);
    q.key = rd_u32(r);
    q.scheme = rd_u16(r);
    q.tbs = rd_vec16(r);
    r->bad = r->bad || q.tbs.len == 0 || q.tbs.len > SIGN_TBS_MAX;
    return q;
}

static struct sign_answer read_answer(struct rd *r) {
    struct sign_answer a;
    a.number = rd_u64(r);
    a.err = -(int)rd_u16(r);
    a.signature = rd_vec16(r);
    r->bad =
        r->bad || (a.err ? !err_known(a.err) || a.signature.len : a.signature.len == 0) || a.signature.len > SIGN_SIGNATURE_MAX;
    return a;
}

int sign_read_requests(const struct ipc_msg *m, struct sign_request ret[static SIGN_BATCH_MAX], unsigned *ret_n) {
    struct rd r = rd_of(m->body);
    unsigned n = 0;
    while (n < SIGN_BATCH_MAX && rd_left(&r))
        ret[n++] = read_request(&r);
    if (m->type != SIGN_REQUESTS || n == 0 || !rd_end(&r))
        return ERR_FORMAT;
    *ret_n = n;
    return 0;
}

int sign_read_answers(const struct ipc_msg *m, struct sign_answer ret[static SIGN_BATCH_MAX], unsigned *ret_n) {
    struct rd r = rd_of(m->body);
    unsigned n = 0;
    while (n < SIGN_BATCH_MAX && rd_left(&r))
        ret[n++] = read_answer(&r);
    if (m->type != SIGN_ANSWERS || n == 0 || !rd_end(&r))
        return ERR_FORMAT;
    *ret_n = n;
    return 0;
}
