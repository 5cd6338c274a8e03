#include "wire/sign.h"

#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"

#define REQUEST_MIN 15 /* at least one byte to be signed; its shape is looked at later */

const struct ipc_rule sign_to_signer[] = {
    {SIGN_REQUEST, 0, REQUEST_MIN, SIGN_REQUEST_MAX},
    {0, 0, 0, 0},
};

const struct ipc_rule sign_to_handshaker[] = {
    {SIGN_DONE, 0, 5, SIGN_ANSWER_MAX},
    {SIGN_REFUSED, 0, 6, 6},
    {0, 0, 0, 0},
};

int sign_pack_request(const struct sign_request *r, uint8_t to[static SIGN_REQUEST_MAX], size_t *ret_len) {
    struct wr w = wr_of(to, SIGN_REQUEST_MAX);
    wr_u32(&w, r->number);
    wr_u32(&w, r->set);
    wr_u32(&w, r->key);
    wr_u16(&w, r->scheme);
    wr_span(&w, r->tbs);
    if (!wr_end(&w))
        return ERR_LIMIT;
    *ret_len = w.len;
    return 0;
}

int sign_read_request(const struct ipc_msg *m, struct sign_request *ret) {
    struct rd r = rd_of(m->body);
    struct sign_request req;
    req.number = rd_u32(&r);
    req.set = rd_u32(&r);
    req.key = rd_u32(&r);
    req.scheme = rd_u16(&r);
    req.tbs = rd_bytes(&r, rd_left(&r));
    if (m->type != SIGN_REQUEST || !rd_end(&r) || req.tbs.len == 0 || req.tbs.len > SIGN_TBS_MAX)
        return ERR_FORMAT;
    *ret = req;
    return 0;
}

int sign_pack_answer(const struct sign_answer *a, uint8_t to[static SIGN_ANSWER_MAX], size_t *ret_len) {
    struct wr w = wr_of(to, SIGN_ANSWER_MAX);
    wr_u32(&w, a->number);
    if (a->err == 0)
        wr_span(&w, a->signature);
    else
        wr_u16(&w, (uint16_t)-a->err);
    if (!wr_end(&w))
        return ERR_LIMIT;
    *ret_len = w.len;
    return 0;
}

int sign_read_answer(const struct ipc_msg *m, struct sign_answer *ret) {
    struct rd r = rd_of(m->body);
    struct sign_answer a = {.number = rd_u32(&r)};
    if (m->type == SIGN_DONE) {
        a.signature = rd_bytes(&r, rd_left(&r));
        r.bad = r.bad || a.signature.len == 0 || a.signature.len > SIGN_SIGNATURE_MAX;
    } else {
        a.err = -(int)rd_u16(&r);
        r.bad = r.bad || m->type != SIGN_REFUSED || !err_known(a.err);
    }
    if (!rd_end(&r))
        return ERR_FORMAT;
    *ret = a;
    return 0;
}
