#include "handshaker/signer_link.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/ipc.h"

#define ASKED_HERE (UINT64_C(1) << 63) /* in the numbers of signer_link_ask() alone */

/* What signer_link_ask() waits for. */
struct sign_wait {
    uint64_t number;
    uint32_t set;
    uint8_t *sig;
    size_t cap, len;
    int err; /* ERR_AGAIN until the answer is there */
};

void signer_link_init(struct signer_link *l, signer_answer_fn on_answer, void *ctx) {
    *l = (struct signer_link){.fd = -1, .on_answer = on_answer, .ctx = ctx};
}

void signer_link_close(struct signer_link *l) {
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->owed = 0;
    l->lacks = 0;
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

void signer_link_broken(struct signer_link *l) {
    l->breaches++;
    signer_link_close(l);
}

void signer_link_lacks(struct signer_link *l, uint32_t set) {
    l->lacks = MAX(l->lacks, set);
}

bool signer_link_serves(const struct signer_link *l, uint32_t set) {
    return l->state == SIGNER_THERE && (l->lacks == 0 || set > l->lacks);
}

unsigned signer_link_room(const struct signer_link *l) {
    return l->state == SIGNER_THERE && l->owed < SIGNER_OWED_MAX ? SIGNER_OWED_MAX - l->owed : 0;
}

bool signer_link_send(struct signer_link *l, const struct sign_request *q, unsigned n) {
    static uint8_t message[2 + SIGN_REQUESTS_MAX] = {0, SIGN_REQUESTS};
    struct wr w = wr_of(message, sizeof(message));
    w.len = 2;
    for (unsigned i = 0; i < n; i++)
        sign_put_request(&w, &q[i]);
    MUST(wr_end(&w)); /* the lengths were looked at */
    ssize_t sent;
    do {
        sent = send(l->fd, w.p, w.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        if (l->owed == 0)
            l->answer_ms = clock_mono_ms();
        l->owed += n;
        return true;
    }
    if (errno == EAGAIN && l->owed) { /* it has not read what it was asked before */
        l->state = SIGNER_STUCK;
    } else if (ipc_no_memory(errno)) {
        l->state = SIGNER_STUCK;
        l->answer_ms = clock_mono_ms();
    } else {
        signer_link_close(l);
    }
    return false;
}

static void keep_signature(struct signer_link *l, struct sign_wait *wait, const struct sign_answer *a) {
    if (a->err == ERR_NOT_FOUND) {
        signer_link_lacks(l, wait->set);
        wait->err = ERR_SIGNER_TIMEOUT;
        return;
    }
    wait->err = a->err || a->signature.len > wait->cap ? ERR_SIGNER_REFUSED : 0;
    if (wait->err)
        return;
    memcpy(wait->sig, a->signature.p, a->signature.len);
    wait->len = a->signature.len;
}

static void take_sign_answer(struct signer_link *l, const struct sign_answer *a) {
    if (a->err && a->err != ERR_NOT_FOUND) {
        l->refusals++;
        l->refused_for = a->err;
    }
    if (!(a->number & ASKED_HERE))
        l->on_answer(l->ctx, l, a);
    else if (l->wait && a->number == l->wait->number) /* others are late answers to abandoned requests */
        keep_signature(l, l->wait, a);
}

/* A message is there to be read. False: it is of no signer, or more than was asked for. */
static bool take_sign_message(struct signer_link *l, const uint8_t *p, size_t len) {
    struct sign_answer answers[SIGN_BATCH_MAX];
    unsigned n = 0;
    const struct ipc_msg m = {.type = len >= 2 ? (uint16_t)(p[0] << 8 | p[1]) : 0,
                              .body = span_of(p + 2, len >= 2 ? len - 2 : 0)};
    if (sign_read_answers(&m, answers, &n) < 0 || n > l->owed)
        return false;
    l->owed -= n;
    l->answer_ms = clock_mono_ms();
    if (l->owed == 0) /* it has caught up */
        l->state = SIGNER_THERE;
    for (unsigned i = 0; i < n; i++)
        take_sign_answer(l, &answers[i]);
    return true;
}

/* The next message, or none within the time. Descriptors that came along are dropped by the kernel: none were asked for. */
static bool receive_answers(struct signer_link *l, int flags) {
    static uint8_t message[2 + SIGN_ANSWERS_MAX + 1]; /* one more, so that a message that is too long is noticed */
    ssize_t n;
    do {
        n = recv(l->fd, message, sizeof(message), flags);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n > 0 && take_sign_message(l, message, (size_t)n))
        return true;
    if (n > 0)
        signer_link_broken(l);
    else
        signer_link_close(l);
    return false;
}

void signer_link_look(struct signer_link *l) {
    while (l->fd >= 0 && receive_answers(l, MSG_DONTWAIT) && l->owed) /* who owes nothing has nothing more to say */
        continue;
    uint64_t due_ms = signer_link_due_ms(l);
    if (due_ms != UINT64_MAX && clock_mono_ms() >= due_ms)
        l->state = l->owed ? SIGNER_STUCK : SIGNER_THERE;
}

uint64_t signer_link_due_ms(const struct signer_link *l) {
    if (l->state == SIGNER_THERE && l->owed)
        return l->answer_ms + SIGNER_ANSWER_MS;
    return l->state == SIGNER_STUCK && !l->owed ? l->answer_ms + SIGNER_RETRY_MS : UINT64_MAX;
}

int signer_link_ask(void *ctx, struct key_name name, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                    size_t *ret_len) {
    struct signer_link *l = ctx;
    if (l->state == SIGNER_STUCK)
        signer_link_look(l);
    if (!signer_link_serves(l, name.set))
        return ERR_SIGNER_TIMEOUT;
    if (tbs.len == 0 || tbs.len > SIGN_TBS_MAX)
        return ERR_SIGNER_REFUSED;
    struct sign_wait wait = {.number = ASKED_HERE | ++l->asked, .set = name.set, .sig = sig, .cap = cap, .err = ERR_AGAIN};
    const struct sign_request q = {wait.number, name.set, name.key, scheme, tbs};
    if (!signer_link_send(l, &q, 1))
        return ERR_SIGNER_TIMEOUT;
    l->wait = &wait;
    while (wait.err == ERR_AGAIN && l->owed && receive_answers(l, 0))
        continue;
    l->wait = NULL;
    if (wait.err == ERR_AGAIN && l->owed)
        l->state = SIGNER_STUCK;
    else if (wait.err == ERR_AGAIN && l->state != SIGNER_GONE)
        signer_link_broken(l);
    if (wait.err == 0)
        *ret_len = wait.len;
    return wait.err == ERR_AGAIN ? ERR_SIGNER_TIMEOUT : wait.err;
}
