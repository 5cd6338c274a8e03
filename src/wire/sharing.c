#include "wire/sharing.h"

#include <unistd.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/sealed.h"
#include "base/wr.h"

#define SHARING_REQUEST_MIN 25
#define SHARING_REQUEST_MAX (SHARING_REQUEST_MIN + 2 * SHARING_NAME_MAX + SHARING_DATA_MAX)
#define SHARING_ANSWER_MIN  23
#define SHARING_ANSWER_MAX  (SHARING_ANSWER_MIN + SHARING_DATA_MAX)

const struct ipc_rule sharing_to_observer[] = {
    {SHARING_STATE, 0, SERVER_STATE_MIN, SERVER_STATE_MAX},
    {SHARING_SUMMARIES, 1, 0, 0},
    {0, 0, 0, 0},
};

const struct ipc_rule sharing_to_acme[] = {
    {SHARING_STATE, 0, SERVER_STATE_MIN, SERVER_STATE_MAX},
    {SHARING_ANSWER, 0, SHARING_ANSWER_MIN, SHARING_ANSWER_MAX},
    {SHARING_NEWS, 0, 0, SHARING_NAME_MAX},
    {0, 0, 0, 0},
};

const struct ipc_rule sharing_to_fleet[] = {
    {SHARING_REQUEST, 0, SHARING_REQUEST_MIN, SHARING_REQUEST_MAX},
    {0, 0, 0, 0},
};
const struct ipc_rule sharing_from_observer[] = {{SHARING_SUMMARY, 1, 0, 0}, {0, 0, 0, 0}};

int sharing_send_bytes(int fd, enum sharing_type type, struct span bytes) {
    int memory;
    int err = sealed_copy("tls-off-summary", bytes, &memory);
    if (err < 0)
        return err;
    err = ipc_send(fd, (uint16_t)type, span_of(NULL, 0), &memory, 1);
    close(memory);
    return err;
}

bool sharing_is_name(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return s.len <= SHARING_NAME_MAX;
}

int sharing_send_request(int fd, const struct sharing_request *q) {
    static uint8_t body[SHARING_REQUEST_MAX];
    struct wr w = wr_of(body, sizeof(body));
    if (!sharing_is_name(q->lease) || !sharing_is_name(q->name)) /* the reader would close the link */
        return ERR_FORMAT;
    wr_u32(&w, q->number);
    wr_u8(&w, (uint8_t)q->op);
    wr_u64(&w, q->fence);
    wr_u64(&w, q->version);
    wr_vec8(&w, q->lease);
    wr_vec8(&w, q->name);
    wr_vec16(&w, q->data);
    return wr_end(&w) ? ipc_send(fd, SHARING_REQUEST, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int sharing_read_request(const struct ipc_msg *m, struct sharing_request *ret) {
    struct rd r = rd_of(m->body);
    struct sharing_request q = {.number = rd_u32(&r)};
    uint8_t op = rd_u8(&r);
    q.op = (enum sharing_op)op;
    q.fence = rd_u64(&r);
    q.version = rd_u64(&r);
    q.lease = rd_vec8(&r);
    q.name = rd_vec8(&r);
    q.data = rd_vec16(&r);
    bool fits = op < SHARING_OPS && q.data.len <= SHARING_DATA_MAX && sharing_is_name(q.lease) && sharing_is_name(q.name);
    if (m->type != SHARING_REQUEST || !rd_end(&r) || !fits)
        return ERR_FORMAT;
    *ret = q;
    return 0;
}

int sharing_send_answer(int fd, const struct sharing_answer *a) {
    static uint8_t body[SHARING_ANSWER_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, a->number);
    wr_u8(&w, (uint8_t)a->result);
    wr_u64(&w, a->fence);
    wr_u64(&w, a->version);
    wr_vec16(&w, a->data);
    return wr_end(&w) ? ipc_send(fd, SHARING_ANSWER, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int sharing_read_answer(const struct ipc_msg *m, struct sharing_answer *ret) {
    struct rd r = rd_of(m->body);
    struct sharing_answer a = {.number = rd_u32(&r)};
    uint8_t result = rd_u8(&r);
    a.result = (enum sharing_result)result;
    a.fence = rd_u64(&r);
    a.version = rd_u64(&r);
    a.data = rd_vec16(&r);
    if (m->type != SHARING_ANSWER || !rd_end(&r) || result >= SHARING_RESULTS || a.data.len > SHARING_DATA_MAX)
        return ERR_FORMAT;
    *ret = a;
    return 0;
}

int sharing_send_news(int fd, struct span name) {
    return ipc_send(fd, SHARING_NEWS, name, NULL, 0);
}

int sharing_read_news(const struct ipc_msg *m, struct span *ret_name) {
    if (m->type != SHARING_NEWS || !sharing_is_name(m->body))
        return ERR_FORMAT;
    *ret_name = m->body;
    return 0;
}
