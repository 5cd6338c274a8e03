#include "wire/exporting.h"

#include "base/err.h"
#include "base/rd.h"

const struct ipc_rule exporting_to_exporter[] = {{EXPORTING_EVENTS, 0, 3, IPC_BODY_MAX}, {0, 0, 0, 0}};
const struct ipc_rule exporting_to_observer[] = {{EXPORTING_STATE, 0, SERVER_STATE_MIN, SERVER_STATE_MAX}, {0, 0, 0, 0}};

bool exporting_add(struct exporting_batch *b, const struct event *e) {
    uint8_t packed[EVENT_PACKED_MAX];
    struct wr event = wr_of(packed, sizeof(packed)), w = wr_of(b->bytes + b->len, sizeof(b->bytes) - b->len);
    event_pack(&event, e);
    if (!wr_end(&event))
        return false;
    wr_vec16(&w, wr_written(&event));
    if (!wr_end(&w))
        return false;
    b->len += w.len;
    b->n++;
    return true;
}

int exporting_send(int fd, struct exporting_batch *b) {
    int err = ipc_send(fd, EXPORTING_EVENTS, span_of(b->bytes, b->len), NULL, 0);
    if (err == 0)
        b->len = b->n = 0;
    return err;
}

bool exporting_next(struct span *left, struct event *ret, int *ret_err) {
    struct rd r = rd_of(*left);
    *ret_err = 0;
    if (left->len == 0)
        return false;
    struct span one = rd_vec16(&r);
    *ret_err = r.bad ? ERR_FORMAT : event_read(one, ret);
    if (*ret_err < 0)
        return false;
    *left = span_of(left->p + 2 + one.len, left->len - 2 - one.len);
    return true;
}
