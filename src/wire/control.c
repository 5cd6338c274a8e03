#include "wire/control.h"

#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "shm/bounds.h"
#include "wire/addr_pack.h"
#include "wire/control_hook.h"

#define SETUP_LEN           18
#define LISTENER_LEN        2
#define ADMIN_LEN           1
#define PEER_LEN            8
#define CONTROL_NUMBER_LEN  8
#define EXPORT_LEN          5
#define EXPORTED_LEN        9
#define DRAIN_LEN           10
#define CONTROL_COMMAND_LEN 26
#define CONTROL_REQUEST_MIN 12
#define CONFIGURED_MIN      4
#define SET_LEN             4
#define HASH_KEY_LEN        8 /* CREDS, KEY, KEY_PASS */

/* clang-format off */
#define TO_CHILD(X)                                                                                                            \
    /* type, descriptors, body from, to */                                                                                     \
    X(SETUP, 4, SETUP_LEN, SETUP_LEN)                                                                                          \
    X(SECRETS, 1, 0, 0)                                                                                                        \
    X(LISTENER, 1, LISTENER_LEN, LISTENER_LEN)                                                                                 \
    X(LINK, 1, PEER_LEN, PEER_LEN)                                                                                             \
    X(RING, 1, PEER_LEN, PEER_LEN)                                                                                             \
    X(ADMIN, 1, ADMIN_LEN, ADMIN_LEN)                                                                                          \
    X(GO, 0, 0, 0)                                                                                                             \
    X(LOG, 1, 0, 0)                                                                                                            \
    X(DRAIN, 0, DRAIN_LEN, DRAIN_LEN)                                                                                          \
    X(STOP, 0, 0, 0)                                                                                                           \
    X(REQUEST, 0, CONTROL_REQUEST_MIN, CONTROL_TEXT_MAX)                                                                               \
    X(EXPORT, 1, EXPORT_LEN, EXPORT_LEN)                                                                                       \
    X(IMPORT, 1, 0, 0)                                                                                                         \
    X(SERVE, 0, 0, 0)                                                                                                          \
    X(PING, 0, 0, 0)                                                                                                           \
    X(PROCTAB, 1, 0, 0)                                                                                                        \
    X(RING_END, 0, PEER_LEN, PEER_LEN)                                                                                         \
    X(STATE, 1, 0, 0)                                                                                                          \
    X(REQUEST_CREDS, 1, 0, 0)                                                                                                  \
    X(CREDS, 1, HASH_KEY_LEN, HASH_KEY_LEN)                                                                                              \
    X(KEY, 1, HASH_KEY_LEN, HASH_KEY_LEN)                                                                                                \
    X(KEY_PASS, 1, HASH_KEY_LEN, HASH_KEY_LEN)                                                                                           \
    X(REQUEST_ACCESS, 2, 0, 0)                                                                                                 \
    X(ACCESS, 1, 0, 0)                                                                                                         \
    X(KEYLOG, 1, 0, 0)                                                                                                         \
    X(REQUEST_SECRETS, 1, 0, 0)                                                                                                \
    X(HOOKED, 0, 0, HOOKED_MAX)                                                                                  \
    X(CPU, 0, CONTROL_NUMBER_LEN, CONTROL_NUMBER_LEN)
/* clang-format on */

const struct ipc_rule control_to_child[] = {
#define RULE(type, fds, min, max) {CONTROL_##type, fds, min, max},
    TO_CHILD(RULE)
#undef RULE
        {0, 0, 0, 0},
};

/*
 * What the supervisor takes, and from whom. WORKERS are all that live as long as their generation; the config role and the
 * successor of the supervisor give one answer and end.
 */
#define FROM(role) (1u << ROLE_##role)
#define WORKERS                                                                                                                \
    (FROM(OBSERVER) | FROM(RESOLVER) | FROM(RELAY) | FROM(HANDSHAKER) | FROM(SIGNER) | FROM(KEYMAKER) | FROM(ACME) |           \
     FROM(FLEET) | FROM(EXPORTER))

/* clang-format off */
#define TO_SUPERVISOR(X)                                                                                                       \
    /* type, descriptors, body from, to, senders */                                                                           \
    X(READY, 0, 0, 0, WORKERS | FROM(SUPERVISOR))                                                                              \
    X(REFUSED, 0, 0, CONTROL_TEXT_MAX, WORKERS | FROM(CONFIG) | FROM(SUPERVISOR))                                              \
    X(DRAINED, 0, CONTROL_NUMBER_LEN, CONTROL_NUMBER_LEN, FROM(RELAY) | FROM(HANDSHAKER))                                                      \
    X(CONFIGURED, 4, CONFIGURED_MIN, CONTROL_TEXT_MAX, FROM(CONFIG))                                                           \
    X(EXPORTED, 0, EXPORTED_LEN, EXPORTED_LEN, FROM(RELAY))                                                                    \
    X(SERVING, 0, 0, 0, FROM(HANDSHAKER) | FROM(ACME))                                                                              \
    X(PONG, 0, 0, 0, WORKERS)                                                                                                  \
    X(HOOK, 0, CONTROL_HOOK_LEN, CONTROL_HOOK_LEN, FROM(ACME))                                                                 \
    X(COMMAND, 0, CONTROL_COMMAND_LEN, CONTROL_COMMAND_LEN, FROM(OBSERVER))                                                                    \
    X(CREDS_READ, 1, 0, CONTROL_TEXT_MAX, FROM(CONFIG))                                                                        \
    X(ACCESS_READ, 1, 0, CONTROL_TEXT_MAX, FROM(CONFIG))                                                                       \
    X(SECRETS_READ, 1, 0, 0, FROM(CONFIG))                                                                                     \
    X(KEYS_TAKEN, 0, SET_LEN, SET_LEN, FROM(SIGNER))                                                                           \
    X(KEYS_REFUSED, 0, SET_LEN, CONTROL_TEXT_MAX, FROM(SIGNER))
/* clang-format on */

const struct ipc_rule control_to_supervisor[] = {
#define RULE(type, fds, min, max, senders) {CONTROL_##type, fds, min, max},
    TO_SUPERVISOR(RULE)
#undef RULE
        {0, 0, 0, 0},
};

static const struct sender {
    uint16_t type;
    unsigned roles; /* 0: the supervisor */
    const char *name;
} senders[] = {
#define SENDER(type, fds, min, max, senders) {CONTROL_##type, senders, #type},
#define TO_CHILD_SENDER(type, fds, min, max) SENDER(type, fds, min, max, 0)
    TO_SUPERVISOR(SENDER) TO_CHILD(TO_CHILD_SENDER)
#undef TO_CHILD_SENDER
#undef SENDER
};

static const struct sender *sender_of(uint16_t type) {
    for (size_t i = 0; i < ARRAY_LEN(senders); i++)
        if (senders[i].type == type)
            return &senders[i];
    return NULL;
}

const char *control_type_name(uint16_t type) {
    const struct sender *s = sender_of(type);
    return s ? s->name : "unknown, or torn";
}

enum step control_hear(int fd, enum role sender, void *scratch, size_t cap, struct ipc_msg *ret, int *ret_err) {
    enum step step = ipc_recv(fd, scratch, cap, control_to_supervisor, ret, ret_err);
    if (step != STEP_DONE || sender_of(ret->type)->roles & 1u << sender)
        return step;
    ipc_msg_close(ret);
    *ret_err = ERR_FORMAT;
    return STEP_FAILED;
}

int control_send_setup(int fd, const struct control_setup *s, const int fds[static 4]) {
    uint8_t body[SETUP_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u16(&w, (uint16_t)s->role);
    wr_u16(&w, s->index);
    wr_u16(&w, s->workers);
    wr_u32(&w, (uint32_t)s->cpu);
    wr_u32(&w, s->generation);
    wr_u32(&w, s->restarts);
    return wr_end(&w) ? ipc_send(fd, CONTROL_SETUP, wr_written(&w), fds, 4) : ERR_LIMIT;
}

int control_read_setup(const struct ipc_msg *m, struct control_setup *ret) {
    if (m->type != CONTROL_SETUP)
        return ERR_FORMAT;
    struct rd r = rd_of(m->body);
    uint16_t role = rd_u16(&r);
    struct control_setup s = {.role = (enum role)role};
    s.index = rd_u16(&r);
    s.workers = rd_u16(&r);
    s.cpu = (int32_t)rd_u32(&r);
    s.generation = rd_u32(&r);
    s.restarts = rd_u32(&r);
    if (!rd_end(&r) || role >= ROLE_COUNT || s.workers == 0 || s.index >= s.workers || s.cpu < -1)
        return ERR_FORMAT;
    *ret = s;
    return 0;
}

int control_send_listener(int fd, uint16_t listener, int sock) {
    uint8_t body[LISTENER_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u16(&w, listener);
    return wr_end(&w) ? ipc_send(fd, CONTROL_LISTENER, wr_written(&w), &sock, 1) : ERR_LIMIT;
}

int control_read_listener(const struct ipc_msg *m, uint16_t *ret_listener) {
    struct rd r = rd_of(m->body);
    uint16_t listener = rd_u16(&r);
    if (m->type != CONTROL_LISTENER || !rd_end(&r))
        return ERR_FORMAT;
    *ret_listener = listener;
    return 0;
}

static int send_peer(int fd, enum control_type type, const struct control_peer *p, const int *fds, unsigned nfds) {
    uint8_t body[PEER_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u16(&w, (uint16_t)p->role);
    wr_u16(&w, p->index);
    wr_u32(&w, p->generation);
    return wr_end(&w) ? ipc_send(fd, (uint16_t)type, wr_written(&w), fds, nfds) : ERR_LIMIT;
}

int control_send_peer(int fd, enum control_type type, const struct control_peer *p, int sock) {
    return send_peer(fd, type, p, &sock, 1);
}

int control_send_ring_end(int fd, const struct control_peer *p) {
    return send_peer(fd, CONTROL_RING_END, p, NULL, 0);
}

int control_read_peer(const struct ipc_msg *m, struct control_peer *ret) {
    struct rd r = rd_of(m->body);
    uint16_t role = rd_u16(&r);
    uint16_t index = rd_u16(&r);
    uint32_t generation = rd_u32(&r);
    bool mine = m->type == CONTROL_LINK || m->type == CONTROL_RING || m->type == CONTROL_RING_END;
    if (!mine || !rd_end(&r) || role >= ROLE_COUNT || index >= WORKERS_MAX)
        return ERR_FORMAT;
    *ret = (struct control_peer){(enum role)role, index, generation};
    return 0;
}

int control_send_drain(int fd, const struct control_drain *d) {
    uint8_t body[DRAIN_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u16(&w, (uint16_t)d->how);
    wr_u64(&w, d->ms);
    return wr_end(&w) ? ipc_send(fd, CONTROL_DRAIN, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int control_read_drain(const struct ipc_msg *m, struct control_drain *ret) {
    struct rd r = rd_of(m->body);
    uint16_t how = rd_u16(&r);
    uint64_t ms = rd_u64(&r);
    if (m->type != CONTROL_DRAIN || !rd_end(&r) || how >= DRAIN_HOWS)
        return ERR_FORMAT;
    *ret = (struct control_drain){(enum drain_how)how, ms};
    return 0;
}

int control_send_command(int fd, const struct control_command *c) {
    uint8_t body[CONTROL_COMMAND_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u16(&w, (uint16_t)c->kind);
    wr_u64(&w, c->id);
    wr_u64(&w, c->ms);
    wr_u64(&w, c->delay_ms);
    return wr_end(&w) ? ipc_send(fd, CONTROL_COMMAND, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int control_read_command(const struct ipc_msg *m, struct control_command *ret) {
    struct rd r = rd_of(m->body);
    uint16_t kind = rd_u16(&r);
    struct control_command c = {.id = rd_u64(&r)};
    c.ms = rd_u64(&r);
    c.delay_ms = rd_u64(&r);
    if (m->type != CONTROL_COMMAND || !rd_end(&r) || kind == 0 || kind >= COMMAND_KINDS)
        return ERR_FORMAT;
    c.kind = (enum command_kind)kind;
    *ret = c;
    return 0;
}

int control_send_admin(int fd, enum admin_kind kind, int sock) {
    const uint8_t body[ADMIN_LEN] = {(uint8_t)kind};
    return ipc_send(fd, CONTROL_ADMIN, span_of(body, sizeof(body)), &sock, 1);
}

int control_read_admin(const struct ipc_msg *m, enum admin_kind *ret) {
    struct rd r = rd_of(m->body);
    uint8_t kind = rd_u8(&r);
    if (m->type != CONTROL_ADMIN || !rd_end(&r) || kind > ADMIN_TCP)
        return ERR_FORMAT;
    *ret = (enum admin_kind)kind;
    return 0;
}

int control_send_number(int fd, enum control_type type, uint64_t n) {
    uint8_t body[CONTROL_NUMBER_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u64(&w, n);
    return wr_end(&w) ? ipc_send(fd, (uint16_t)type, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int control_read_number(const struct ipc_msg *m, uint64_t *ret) {
    struct rd r = rd_of(m->body);
    uint64_t n = rd_u64(&r);
    if ((m->type != CONTROL_DRAINED && m->type != CONTROL_CPU) || !rd_end(&r))
        return ERR_FORMAT;
    *ret = n;
    return 0;
}

int control_send(int fd, enum control_type type) {
    return ipc_send(fd, (uint16_t)type, span_of(NULL, 0), NULL, 0);
}

int control_send_text(int fd, enum control_type type, struct span text, const int *fds, unsigned nfds) {
    if (text.len > CONTROL_TEXT_MAX)
        text.len = CONTROL_TEXT_MAX;
    return ipc_send(fd, (uint16_t)type, text, fds, nfds);
}

static void pack_texts(struct wr *w, const struct span *texts, uint16_t n) {
    w->bad = w->bad || n > CONTROL_FLAGS_MAX;
    wr_u16(w, n);
    for (size_t i = 0; i < n && !w->bad; i++)
        wr_vec16(w, texts[i]);
}

/* They become C strings on the other side, so none may hold a zero byte. */
static struct span unpack_c_text(struct rd *r) {
    struct span s = rd_vec16(r);
    if (s.len > 0 && memchr(s.p, 0, s.len))
        r->bad = true;
    return s;
}

static void unpack_texts(struct rd *r, struct span *texts, uint16_t *ret_n) {
    uint16_t n = rd_u16(r);
    if (n > CONTROL_FLAGS_MAX) {
        r->bad = true;
        n = 0;
    }
    for (size_t i = 0; i < n; i++)
        texts[i] = unpack_c_text(r);
    *ret_n = n;
}

int control_send_request(int fd, const struct control_request *req) {
    uint8_t body[CONTROL_TEXT_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, CONTROL_PROTOCOL);
    wr_vec16(&w, req->file);
    pack_texts(&w, req->listen, req->nlisten);
    pack_texts(&w, req->backend, req->nbackend);
    pack_texts(&w, req->name, req->nname);
    wr_vec16(&w, req->directory);
    wr_vec16(&w, req->ca_file);
    w.bad = w.bad || req->nheld > CONTROL_HELD_MAX;
    wr_u16(&w, req->nheld);
    for (size_t i = 0; i < req->nheld && !w.bad; i++)
        addr_pack(&w, &req->held[i]);
    return wr_end(&w) ? ipc_send(fd, CONTROL_REQUEST, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int control_read_request(const struct ipc_msg *m, struct control_request *ret) {
    if (m->type != CONTROL_REQUEST)
        return ERR_FORMAT;
    struct rd r = rd_of(m->body);
    struct control_request req = {.protocol = rd_u32(&r)};
    if (!r.bad && req.protocol != CONTROL_PROTOCOL)
        return ERR_UNSUPPORTED;
    req.file = unpack_c_text(&r);
    unpack_texts(&r, req.listen, &req.nlisten);
    unpack_texts(&r, req.backend, &req.nbackend);
    unpack_texts(&r, req.name, &req.nname);
    req.directory = unpack_c_text(&r);
    req.ca_file = unpack_c_text(&r);
    req.nheld = rd_u16(&r);
    for (size_t i = 0; i < req.nheld && i < CONTROL_HELD_MAX && !r.bad; i++)
        addr_unpack(&r, &req.held[i]);
    if (!rd_end(&r) || req.nheld > CONTROL_HELD_MAX)
        return ERR_FORMAT;
    *ret = req;
    return 0;
}

int control_send_configured(int fd, const struct control_configured *c, const int fds[static 4]) {
    uint8_t body[CONTROL_TEXT_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_vec16(&w, c->version);
    wr_vec16(&w, c->warnings);
    return wr_end(&w) ? ipc_send(fd, CONTROL_CONFIGURED, wr_written(&w), fds, 4) : ERR_LIMIT;
}

int control_read_configured(const struct ipc_msg *m, struct control_configured *ret) {
    struct rd r = rd_of(m->body);
    struct span version = unpack_c_text(&r);
    struct span warnings = unpack_c_text(&r);
    if (m->type != CONTROL_CONFIGURED || !rd_end(&r))
        return ERR_FORMAT;
    *ret = (struct control_configured){version, warnings};
    return 0;
}
