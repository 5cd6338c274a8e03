#include "wire/control_creds.h"

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "wire/control.h"

#define PAIR_LEN 8

/* The messages of two numbers, with a descriptor. */
static int send_pair(int fd, uint16_t type, uint32_t a, uint32_t b, int with) {
    uint8_t body[PAIR_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, a);
    wr_u32(&w, b);
    return wr_end(&w) ? ipc_send(fd, type, wr_written(&w), &with, 1) : ERR_LIMIT;
}

static int read_pair(const struct ipc_msg *m, uint32_t *ret_a, uint32_t *ret_b) {
    struct rd r = rd_of(m->body);
    uint32_t a = rd_u32(&r), b = rd_u32(&r);
    if (!rd_end(&r))
        return ERR_FORMAT;
    *ret_a = a;
    *ret_b = b;
    return 0;
}

int control_send_creds(int fd, const struct control_creds *c, int store) {
    return send_pair(fd, CONTROL_CREDS, c->set, c->nkeys, store);
}

int control_read_creds(const struct ipc_msg *m, struct control_creds *ret) {
    return m->type == CONTROL_CREDS ? read_pair(m, &ret->set, &ret->nkeys) : ERR_FORMAT;
}

int control_send_key(int fd, uint16_t type, const struct control_key *k, int file) {
    return send_pair(fd, type, k->set, k->index, file);
}

int control_read_key(const struct ipc_msg *m, struct control_key *ret) {
    return m->type == CONTROL_KEY || m->type == CONTROL_KEY_PASS ? read_pair(m, &ret->set, &ret->index) : ERR_FORMAT;
}

int control_send_keys_taken(int fd, uint32_t set) {
    uint8_t body[4];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, set);
    return wr_end(&w) ? ipc_send(fd, CONTROL_KEYS_TAKEN, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int control_read_keys_taken(const struct ipc_msg *m, uint32_t *ret_set) {
    struct rd r = rd_of(m->body);
    uint32_t set = rd_u32(&r);
    if (m->type != CONTROL_KEYS_TAKEN || !rd_end(&r))
        return ERR_FORMAT;
    *ret_set = set;
    return 0;
}

int control_send_keys_refused(int fd, uint32_t set, struct span text) {
    uint8_t body[CONTROL_TEXT_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, set);
    wr_span(&w, span_of(text.p, MIN(text.len, sizeof(body) - 4)));
    return wr_end(&w) ? ipc_send(fd, CONTROL_KEYS_REFUSED, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int control_read_keys_refused(const struct ipc_msg *m, uint32_t *ret_set, struct span *ret_text) {
    struct rd r = rd_of(m->body);
    uint32_t set = rd_u32(&r);
    if (m->type != CONTROL_KEYS_REFUSED || r.bad)
        return ERR_FORMAT;
    *ret_set = set;
    *ret_text = rd_bytes(&r, rd_left(&r));
    return 0;
}

int control_send_request_creds(int fd, int snapshot) {
    return ipc_send(fd, CONTROL_REQUEST_CREDS, span_of(NULL, 0), &snapshot, 1);
}
