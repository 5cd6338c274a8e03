/*
 * One signer a handshaker, on the same CPU. Keys come as open files from the supervisor, requests over the handshaker's link.
 * While requests come, it sleeps in recv() on the link: two system calls a message, no epoll; the supervisor's messages are
 * read in between. When none have come for a moment, it sleeps in poll() on all its sockets. The handshaker before it has a
 * link too, and uses it while its own signer hangs or is gone.
 */
#include "signer/signer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/ipc.h"
#include "base/log_pause.h"
#include "base/secret.h"
#include "signer/keyring.h"
#include "tls/secure_heap.h"
#include "wire/control_creds.h"
#include "wire/sign.h"

#define LULL_US   5000 /* without a request: no more are expected soon */
#define TURN      16   /* messages between two looks at the supervisor's socket */
#define RUN_US    200  /* of signing, before it yields */
#define ANSWER_US 2000 /* answers that are there wait no longer for the rest of their message */
#define LINKS     2

struct signer {
    struct child child;
    struct loop loop; /* not turned: see above */
    struct conf *conf;
    struct keyring *keys;
    int links[LINKS]; /* to our own handshaker and to the one before; -1 = none at present */
    bool busy;        /* our own one has sent a request just now */
    struct creds store;
    uint32_t set; /* being read */
    bool reading; /* SET is */
    int pass;     /* passphrase for key PASS_OF; -1 = none */
    uint32_t pass_of;
    bool refused; /* some key of SET was */
    char line[2048];
    struct text why;
    struct log_pause refusal_log;
};

/* ---- sets of keys ---- */

/* In order of what can be done about it. */
static void warn_unlocked(struct signer *s) {
    struct rlimit r = {0, 0};
    if (!secure_heap_unlocked())
        return;
    (void)getrlimit(RLIMIT_MEMLOCK, &r);
    log_msg(
        &s->child.log, LOG_LEVEL_WARNING,
        "%zu KB of %zu KB for private keys are not locked in memory and could be swapped: the limit of locked memory is %llu KB "
        "(LimitMEMLOCK, ulimit -l)",
        secure_heap_unlocked() / 1024, secure_heap_held() / 1024, (unsigned long long)r.rlim_cur / 1024);
}

static void drop_pass(struct signer *s) {
    if (s->pass >= 0)
        close(s->pass);
    s->pass = -1;
}

/* The last key of a set is there, or was refused: without a first one this process cannot serve. */
static int end_key_set(struct signer *s, struct text *why) {
    s->reading = false;
    creds_unmap(&s->store);
    drop_pass(s);
    if (s->refused) {
        keyring_drop(s->keys);
        if (!s->child.ready) {
            text_addf(why, "%s", s->line);
            return ERR_UNSUPPORTED;
        }
        (void)!control_send_keys_refused(s->child.control, s->set, span_of(s->line, s->why.len));
        return 0;
    }
    keyring_commit(s->keys);
    warn_unlocked(s);
    (void)!control_send_keys_taken(s->child.control, s->set); /* a lost supervisor shows on the control socket */
    if (s->child.serving)
        role_ready(&s->child);
    return 0;
}

static int begin_key_set(void *ctx, struct ipc_msg *m, struct text *why) {
    struct signer *s = ctx;
    struct control_creds c;
    if (s->reading)
        creds_unmap(&s->store);
    s->reading = s->refused = false;
    s->why = text_of(s->line, sizeof(s->line));
    int err = control_read_creds(m, &c);
    if (err < 0)
        return err;
    s->set = c.set;
    err = creds_map(m->fds[0], &s->store);
    if (err == 0 && creds_keys(&s->store) != c.nkeys) {
        creds_unmap(&s->store);
        err = ERR_FORMAT;
    }
    if (err == 0)
        err = keyring_begin(s->keys, c.set, &s->store);
    s->reading = true;
    if (err < 0) {
        text_addf(&s->why, "credentials cannot be taken over: %s", err_text(err));
        s->refused = true;
    }
    return err < 0 || keyring_whole(s->keys) ? end_key_set(s, why) : 0;
}

/* All bad keys are reported, as far as there is room. */
static int take_key(void *ctx, struct ipc_msg *m, struct text *why) {
    struct signer *s = ctx;
    struct control_key k;
    char line[512];
    struct text fault = text_of(line, sizeof(line));
    if (!s->reading || control_read_key(m, &k) < 0 || k.set != s->set)
        return 0;
    int pass = s->pass >= 0 && s->pass_of == k.index ? s->pass : -1;
    int err = keyring_take(s->keys, k.index, m->fds[0], pass, &fault);
    drop_pass(s);
    if (err < 0 && fault.len) {
        text_addf(&s->why, "%s%s", s->why.len ? "; " : "", line);
        s->refused = true;
    }
    bool last = k.index + 1 == creds_keys(&s->store);
    if (last && !s->refused && !keyring_whole(s->keys)) {
        text_add(&s->why, "not all keys were given");
        s->refused = true;
    }
    return last ? end_key_set(s, why) : 0;
}

static int take_pass(void *ctx, struct ipc_msg *m, struct text *why) {
    struct signer *s = ctx;
    struct control_key k;
    drop_pass(s);
    if (!s->reading || control_read_key(m, &k) < 0 || k.set != s->set)
        return 0;
    s->pass = ipc_take(m, 0);
    s->pass_of = k.index;
    return 0;
}

/* ---- the supervisor ---- */

/* Its requests block for a moment, so that no other call is needed to wait for them. */
static int link_signer_to_handshaker(void *ctx, const struct control_peer *peer, int fd) {
    struct signer *s = ctx;
    const struct timeval lull = {0, LULL_US};
    int *link = &s->links[peer->index == s->child.setup.index ? 0 : 1];
    if (*link >= 0)
        close(*link);
    *link = -1;
    if (fcntl(fd, F_SETFL, 0) < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &lull, sizeof(lull)) < 0) {
        close(fd);
        return ERR_SYSTEM;
    }
    *link = fd;
    return 0;
}

/* ---- the handshaker ---- */

/* An honest handshaker asks for nothing that is refused: it may be compromised. */
static void count_refusal(struct signer *s, size_t link, int err) {
    uint32_t refusals = log_pause_over(&s->refusal_log, clock_mono_ms());
    if (!refusals)
        return;
    unsigned asker = (s->child.setup.index + s->child.setup.workers - (unsigned)link) % s->child.setup.workers;
    log_msg(&s->child.log, LOG_LEVEL_WARNING, "refused to sign %u requests, the last one of handshaker %u: %s", refusals, asker,
            err_text(err));
}

/* Answers that are on their way into one message. */
struct answers {
    struct wr w;
    uint64_t since_us;
};

static struct answers answers_begin(uint64_t now_us) {
    static uint8_t message[2 + SIGN_ANSWERS_MAX] = {0, SIGN_ANSWERS};
    struct answers a = {.w = wr_of(message, sizeof(message)), .since_us = now_us};
    a.w.len = 2;
    return a;
}

/*
 * What the kernel has no memory for is tried again each millisecond: a closed link would be lost until a reload, and a signer
 * that hangs is replaced. False when the link is gone or full of unread answers.
 */
static bool answers_send(const struct signer *s, size_t link, const struct answers *a) {
    ssize_t n;
    do {
        n = send(s->links[link], a->w.p, a->w.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && (errno == EINTR || (ipc_no_memory(errno) && poll(NULL, 0, 1) <= 0)));
    return wr_end(&a->w) && n == (ssize_t)a->w.len;
}

static void answer_one(struct signer *s, size_t link, const struct sign_request *q, struct answers *to) {
    static uint8_t sig[SIGN_SIGNATURE_MAX];
    size_t len = 0;
    struct sign_answer a = {.number = q->number};
    a.err = keyring_sign(s->keys, q, sig, &len);
    a.signature = span_of(sig, len);
    if (a.err < 0 && a.err != ERR_NOT_FOUND) /* a set that we were not given: it asks another signer */
        count_refusal(s, link, a.err);
    sign_put_answer(&to->w, &a);
}

/*
 * Signs all of a message. Sessions of the relay on this CPU must not wait for a whole batch: between signatures it yields, as
 * the handshaker does (pace.c). False when the link breaks the rules or takes no answer.
 */
static bool answer_requests(struct signer *s, size_t link, const struct ipc_msg *m) {
    struct sign_request q[SIGN_BATCH_MAX];
    unsigned n = 0;
    if (sign_read_requests(m, q, &n) < 0)
        return false;
    uint64_t now_us = clock_mono_us(), yielded_us = now_us;
    struct answers a = answers_begin(now_us);
    for (unsigned i = 0; i < n; i++) {
        answer_one(s, link, &q[i], &a);
        if (i + 1 == n)
            break;
        now_us = clock_mono_us();
        if (now_us - a.since_us >= ANSWER_US) {
            if (!answers_send(s, link, &a))
                return false;
            a = answers_begin(now_us);
        }
        if (now_us - yielded_us >= RUN_US) {
            (void)sched_yield(); /* it cannot fail */
            yielded_us = clock_mono_us();
        }
    }
    return answers_send(s, link, &a);
}

/* Descriptors that the peer may have sent along are dropped by the kernel: none are expected. */
static bool serve_link(struct signer *s, size_t link, bool wait) {
    static uint8_t buf[2 + SIGN_REQUESTS_MAX + 1]; /* one more: what is too long shows */
    for (unsigned i = 0; i < TURN; i++) {
        ssize_t n = recv(s->links[link], buf, sizeof(buf), wait ? 0 : MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return i > 0;
        struct ipc_msg m = {.type = n >= 2 ? (uint16_t)(buf[0] << 8 | buf[1]) : 0, .nfds = 0};
        m.body = span_of(buf + 2, n >= 2 ? (size_t)n - 2 : 0);
        if (n < 2 || !answer_requests(s, link, &m)) { /* its end, or nonsense: the handshaker is started again, or should be */
            close(s->links[link]);
            s->links[link] = -1;
            return true;
        }
    }
    return true;
}

/* ---- life ---- */

/* Requests that come before the first keys wait for them. */
static bool may_serve(const struct signer *s, size_t link) {
    return s->links[link] >= 0 && keyring_has(s->keys);
}

static void wait_for_all(struct signer *s) {
    struct pollfd p[1 + LINKS] = {{.fd = s->child.control, .events = POLLIN}};
    for (size_t i = 0; i < LINKS; i++)
        p[1 + i] = (struct pollfd){.fd = may_serve(s, i) ? s->links[i] : -1, .events = POLLIN};
    (void)poll(p, ARRAY_LEN(p), -1); /* the next look reports any error */
}

static void take_signer_turns(void *ctx) {
    struct signer *s = ctx;
    bool other = false; /* the previous handshaker has sent a request just now: then wait for both */
    while (!s->child.stop) {
        bool handled = role_receive(&signer_role);
        s->busy = may_serve(s, 0) && serve_link(s, 0, s->busy && !handled && !other);
        other = may_serve(s, 1) && serve_link(s, 1, false);
        if (!handled && !s->busy && !other && !s->child.stop)
            wait_for_all(s);
    }
}

/* While we are root, if we are: afterwards the limit is the user's. */
static void raise_lock_limit(void) {
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_MEMLOCK, &all); /* warn_unlocked() reports it when it matters */
}

static int signer_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    struct signer *s = ctx;
    raise_lock_limit();
    int err = secure_heap_begin();
    if (err < 0)
        return err;
    s->keys = keyring_new();
    return s->keys ? 0 : ERR_NOMEM;
}

/* READY comes with the first keys. */
static enum step signer_go(void *ctx, struct text *why) {
    struct signer *s = ctx;
    conf_free(s->conf); /* as many copies as signers would be in memory */
    s->conf = NULL;
    return keyring_has(s->keys) ? STEP_DONE : STEP_WANT_READ; /* it may be reading the next set already */
}

static void signer_finish(void *ctx) {
    struct signer *s = ctx;
    keyring_free(s->keys);
}

static struct signer signer_process = {.links = {-1, -1}, .pass = -1};

static const struct role_message signer_messages[] = {
    {CONTROL_CREDS, begin_key_set},
    {CONTROL_KEY, take_key},
    {CONTROL_KEY_PASS, take_pass},
    {0, NULL},
};

static const struct role_link signer_links[] = {{ROLE_HANDSHAKER, link_signer_to_handshaker}, {0, NULL}};

const struct role_table signer_role = {
    .self = &signer_process,
    .child = &signer_process.child,
    .loop = &signer_process.loop,
    .conf = &signer_process.conf,
    .messages = signer_messages,
    .links = signer_links,
    .prepare = signer_prepare,
    .go = signer_go,
    .run = take_signer_turns,
    .finish = signer_finish,
};
