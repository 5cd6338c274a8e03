#include "wire/server_state.h"

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"

int server_state_send(int fd, uint16_t type, const struct server_state *s) {
    uint8_t body[SERVER_STATE_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u8(&w, s->up);
    wr_u64(&w, (uint64_t)s->since_s);
    wr_u64(&w, s->since_ms);
    wr_vec16(&w, s->why);
    return wr_end(&w) ? ipc_send(fd, type, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int server_state_read(const struct ipc_msg *m, struct server_state *ret) {
    struct rd r = rd_of(m->body);
    uint8_t up = rd_u8(&r);
    struct server_state s = {.up = up == 1, .since_s = (int64_t)rd_u64(&r)};
    s.since_ms = rd_u64(&r);
    s.why = rd_vec16(&r);
    if (!rd_end(&r) || up > 1 || s.why.len > SERVER_WHY_MAX)
        return ERR_FORMAT;
    *ret = s;
    return 0;
}
