/* What a session is due for: see deadlines.h. */
#include "relay/deadlines.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"

#define LOOKS 8 /* at a half-closed session in its time, while the kernel holds bytes of it */

void session_arm(struct relay *r, struct session *s, uint64_t in_ms) {
    s->deadline_ms = in_ms == CONF_NEVER ? CONF_NEVER : r->loop.now_ms + in_ms;
    if (in_ms == CONF_NEVER)
        wheel_cancel(&r->loop.wheel, &s->timer);
    else
        wheel_arm(&r->loop.wheel, &s->timer, s->deadline_ms);
}

void session_look_at(struct relay *r, struct session *s, uint64_t at_ms) {
    if (!wtimer_armed(&s->timer) || s->timer.deadline_ms > at_ms)
        wheel_arm(&r->loop.wheel, &s->timer, at_ms);
}

static uint32_t unsent_by_kernel(int fd) {
    int n = 0;
    return fd >= 0 && ioctl(fd, SIOCOUTQ, &n) == 0 ? (uint32_t)n : 0;
}

/* Never 0, which is "not looked at". */
static uint32_t unsent(const struct session *s) {
    return 1 + unsent_by_kernel(s->client.fd) + unsent_by_kernel(s->backend.fd);
}

/* When to look: sooner while the kernel holds bytes, for only a look shows whether it sends them. */
static uint64_t half_closed_look_ms(const struct session *s, uint64_t allowed_ms) {
    return s->unsent > 1 ? allowed_ms / LOOKS + 1 : allowed_ms;
}

void session_look_half_closed(struct relay *r, struct session *s) {
    uint64_t allowed_ms = session_service(r, s)->half_closed_ms;
    if (allowed_ms == CONF_NEVER)
        return;
    if (!s->unsent)
        s->unsent = unsent(s);
    session_look_at(r, s, s->active_ms + half_closed_look_ms(s, allowed_ms));
}

/* A slow reader empties the kernel's buffers for long before it takes a byte of ours: that is no silence. */
static void see_kernel_move(struct relay *r, struct session *s) {
    uint32_t before = s->unsent;
    s->unsent = unsent(s);
    if (s->unsent != before)
        s->active_ms = r->loop.now_ms;
}

void session_look_again_half_closed(struct relay *r, struct session *s) {
    uint64_t allowed_ms = session_service(r, s)->half_closed_ms;
    if (!session_half_closed(s) || allowed_ms == CONF_NEVER)
        return;
    see_kernel_move(r, s);
    session_look_at(r, s, r->loop.now_ms + half_closed_look_ms(s, allowed_ms));
}
