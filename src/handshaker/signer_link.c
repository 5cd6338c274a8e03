#include "handshaker/signer_link.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "wire/sign.h"

void signer_link_init(struct signer_link *l) {
    *l = (struct signer_link){.fd = -1};
}

void signer_link_close(struct signer_link *l) {
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->state = SIGNER_GONE;
}

int signer_link_open(struct signer_link *l, int fd) {
    const struct timeval wait = {0, (suseconds_t)SIGNER_ANSWER_MS * 1000};
    signer_link_close(l);
    if (fcntl(fd, F_SETFL, 0) < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return ERR_SYSTEM;
    }
    l->fd = fd;
    l->state = SIGNER_THERE;
    return 0;
}

enum reply { REPLY_ANSWER, REPLY_NONE, REPLY_END };

/* The next message, or none within the time. Descriptors that came along are dropped by the kernel: none were asked for. */
static enum reply receive(struct signer_link *l, int flags, uint8_t *buf, size_t cap, struct sign_answer *ret) {
    ssize_t n;
    do {
        n = recv(l->fd, buf, cap, flags);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return REPLY_NONE;
    const struct ipc_msg m = {.type = n >= 2 ? (uint16_t)(buf[0] << 8 | buf[1]) : 0,
                              .body = span_of(buf + 2, n >= 2 ? (size_t)n - 2 : 0)};
    if (n > 0 && sign_read_answer(&m, ret) == 0)
        return REPLY_ANSWER;
    l->breaches += n > 0;
    return REPLY_END;
}

/* False: it is gone. */
static bool send_request(struct signer_link *l, const struct sign_request *q) {
    uint8_t buf[2 + SIGN_REQUEST_MAX] = {0, SIGN_REQUEST};
    size_t len = 0;
    MUST(sign_pack_request(q, buf + 2, &len) == 0); /* the length was looked at */
    ssize_t n;
    do {
        n = send(l->fd, buf, 2 + len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) /* it has not read what it was asked before */
        l->state = SIGNER_STUCK;
    return n >= 0 || errno == EAGAIN;
}

static int take_answer(struct signer_link *l, const struct sign_answer *a, uint8_t *sig, size_t cap, size_t *ret_len) {
    if (a->err == 0 && a->signature.len <= cap) {
        memcpy(sig, a->signature.p, a->signature.len);
        *ret_len = a->signature.len;
        return 0;
    }
    l->refusals++;
    l->refused_for = a->err ? a->err : ERR_FORMAT;
    return ERR_SIGNER_REFUSED;
}

int signer_link_ask(void *ctx, struct key_name name, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                    size_t *ret_len) {
    struct signer_link *l = ctx;
    uint8_t buf[2 + SIGN_ANSWER_MAX + 1]; /* one more, so that a message that is too long is noticed */
    struct sign_answer a;
    if (l->state == SIGNER_STUCK)
        signer_link_look(l);
    if (l->state != SIGNER_THERE)
        return ERR_SIGNER_TIMEOUT;
    if (tbs.len == 0 || tbs.len > SIGN_TBS_MAX)
        return ERR_SIGNER_REFUSED;
    const struct sign_request q = {++l->number, name.set, name.key, scheme, tbs};
    if (!send_request(l, &q))
        signer_link_close(l);
    while (l->state == SIGNER_THERE)
        switch (receive(l, 0, buf, sizeof(buf), &a)) {
        case REPLY_ANSWER:
            if (a.number == q.number) /* others are late answers to abandoned requests */
                return take_answer(l, &a, sig, cap, ret_len);
            break;
        case REPLY_NONE:
            l->state = SIGNER_STUCK;
            break;
        default:
            signer_link_close(l);
        }
    return ERR_SIGNER_TIMEOUT;
}

void signer_link_look(struct signer_link *l) {
    uint8_t buf[2 + SIGN_ANSWER_MAX + 1];
    struct sign_answer a;
    while (l->fd >= 0)
        switch (receive(l, MSG_DONTWAIT, buf, sizeof(buf), &a)) {
        case REPLY_ANSWER:
            if (a.number == l->number) /* it has caught up */
                l->state = SIGNER_THERE;
            break;
        case REPLY_NONE:
            return;
        default:
            signer_link_close(l);
        }
}
