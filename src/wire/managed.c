#include "wire/managed.h"

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"

#define STATUS_MIN          86 /* without texts */
#define MANAGED_STATUS_MAX  (STATUS_MIN + MANAGED_ERROR_MAX + 64)
#define ACCOUNT_MIN         (2 + 4 * 2)
#define ACCOUNT_MAX         (ACCOUNT_MIN + 2 * (MANAGED_URL_MAX + MANAGED_NAME_MAX))
#define MANAGED_COMMAND_LEN 4
#define OCSP_MIN            39 /* without the text */
#define REASON_LAST         10

const struct ipc_rule managed_to_observer[] = {
    {MANAGED_STATUS, 0, STATUS_MIN, MANAGED_STATUS_MAX},
    {MANAGED_ACCOUNT, 0, ACCOUNT_MIN, ACCOUNT_MAX},
    {MANAGED_OCSP, 0, OCSP_MIN, OCSP_MIN + MANAGED_ERROR_MAX},
    {0, 0, 0, 0},
};

const struct ipc_rule managed_to_acme[] = {
    {MANAGED_COMMAND, 0, MANAGED_COMMAND_LEN, MANAGED_COMMAND_LEN},
    {0, 0, 0, 0},
};

int managed_send_status(int fd, const struct managed_status *s) {
    uint8_t body[MANAGED_STATUS_MAX];
    struct wr w = wr_of(body, sizeof(body));
    const int64_t times[] = {s->not_before, s->not_after, s->renew_at, s->next_at, s->installed_at, s->window[0], s->window[1]};
    wr_u16(&w, s->cert);
    wr_u16(&w, s->issuer);
    wr_u8(&w, s->state);
    wr_u8(&w, (uint8_t)(s->from_issuer | s->names_right << 1 | s->alarm << 2));
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        wr_u64(&w, (uint64_t)times[i]);
    wr_u32(&w, s->failures);
    wr_u64(&w, s->issued);
    wr_u64(&w, s->failed);
    wr_vec16(&w, s->state_name);
    wr_vec16(&w, s->error);
    return wr_end(&w) ? ipc_send(fd, MANAGED_STATUS, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int managed_read_status(const struct ipc_msg *m, struct managed_status *ret) {
    struct rd r = rd_of(m->body);
    struct managed_status s = {.cert = rd_u16(&r)};
    s.issuer = rd_u16(&r);
    s.state = rd_u8(&r);
    uint8_t flags = rd_u8(&r);
    s.from_issuer = flags & 1;
    s.names_right = flags & 2;
    s.alarm = flags & 4;
    int64_t *const times[] = {&s.not_before,   &s.not_after, &s.renew_at, &s.next_at,
                              &s.installed_at, &s.window[0], &s.window[1]};
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        *times[i] = (int64_t)rd_u64(&r);
    s.failures = rd_u32(&r);
    s.issued = rd_u64(&r);
    s.failed = rd_u64(&r);
    s.state_name = rd_vec16(&r);
    s.error = rd_vec16(&r);
    if (m->type != MANAGED_STATUS || !rd_end(&r) || flags > 7 || s.state_name.len > 64 || s.error.len > MANAGED_ERROR_MAX)
        return ERR_FORMAT;
    *ret = s;
    return 0;
}

int managed_send_account(int fd, const struct managed_account *a) {
    uint8_t body[ACCOUNT_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u16(&w, a->issuer);
    wr_vec16(&w, a->url);
    wr_vec16(&w, a->thumbprint);
    wr_vec16(&w, a->hash_prefix);
    wr_vec16(&w, a->domain);
    return wr_end(&w) ? ipc_send(fd, MANAGED_ACCOUNT, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int managed_read_account(const struct ipc_msg *m, struct managed_account *ret) {
    struct rd r = rd_of(m->body);
    struct managed_account a = {.issuer = rd_u16(&r)};
    a.url = rd_vec16(&r);
    a.thumbprint = rd_vec16(&r);
    a.hash_prefix = rd_vec16(&r);
    a.domain = rd_vec16(&r);
    bool fits = a.url.len <= MANAGED_URL_MAX && a.hash_prefix.len <= MANAGED_URL_MAX && a.thumbprint.len <= MANAGED_NAME_MAX &&
                a.domain.len <= MANAGED_NAME_MAX;
    if (m->type != MANAGED_ACCOUNT || !rd_end(&r) || !fits)
        return ERR_FORMAT;
    *ret = a;
    return 0;
}

int managed_send_ocsp(int fd, const struct managed_ocsp *o) {
    uint8_t body[OCSP_MIN + MANAGED_ERROR_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, o->set);
    wr_u32(&w, o->entry);
    wr_u8(&w, o->state);
    wr_u64(&w, (uint64_t)o->from);
    wr_u64(&w, (uint64_t)o->until);
    wr_u64(&w, (uint64_t)o->next_at);
    wr_u32(&w, o->failures);
    wr_vec16(&w, o->error);
    return wr_end(&w) ? ipc_send(fd, MANAGED_OCSP, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int managed_read_ocsp(const struct ipc_msg *m, struct managed_ocsp *ret) {
    struct rd r = rd_of(m->body);
    struct managed_ocsp o = {.set = rd_u32(&r)};
    o.entry = rd_u32(&r);
    o.state = rd_u8(&r);
    o.from = (int64_t)rd_u64(&r);
    o.until = (int64_t)rd_u64(&r);
    o.next_at = (int64_t)rd_u64(&r);
    o.failures = rd_u32(&r);
    o.error = rd_vec16(&r);
    if (m->type != MANAGED_OCSP || !rd_end(&r) || o.state >= MANAGED_OCSP_STATES || o.error.len > MANAGED_ERROR_MAX)
        return ERR_FORMAT;
    *ret = o;
    return 0;
}

int managed_send_command(int fd, const struct managed_command *c) {
    uint8_t body[MANAGED_COMMAND_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u8(&w, (uint8_t)c->kind);
    wr_u16(&w, c->target);
    wr_u8(&w, c->reason);
    return wr_end(&w) ? ipc_send(fd, MANAGED_COMMAND, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int managed_read_command(const struct ipc_msg *m, struct managed_command *ret) {
    struct rd r = rd_of(m->body);
    uint8_t kind = rd_u8(&r);
    struct managed_command c = {.target = rd_u16(&r)};
    c.reason = rd_u8(&r);
    if (m->type != MANAGED_COMMAND || !rd_end(&r) || kind >= MANAGED_COMMANDS || c.reason > REASON_LAST)
        return ERR_FORMAT;
    c.kind = (enum managed_command_kind)kind;
    *ret = c;
    return 0;
}
