#include "wire/control_hook.h"

#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "wire/control.h"

int control_send_hook(int fd, const struct control_hook *h) {
    uint8_t body[CONTROL_HOOK_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u8(&w, (uint8_t)h->verb);
    wr_u16(&w, h->issuer);
    wr_u16(&w, h->cert);
    wr_u16(&w, h->name);
    wr_span(&w, span_of(h->value, HOOK_VALUE_LEN));
    return wr_end(&w) ? ipc_send(fd, CONTROL_HOOK, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int control_read_hook(const struct ipc_msg *m, struct control_hook *ret) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct rd r = rd_of(m->body);
    uint8_t verb = rd_u8(&r);
    struct control_hook h = {.issuer = rd_u16(&r)};
    h.cert = rd_u16(&r);
    h.name = rd_u16(&r);
    struct span value = rd_bytes(&r, HOOK_VALUE_LEN);
    if (m->type != CONTROL_HOOK || !rd_end(&r) || verb >= HOOK_VERBS)
        return ERR_FORMAT;
    memcpy(h.value, value.p, HOOK_VALUE_LEN);
    if (strspn(h.value, alphabet) != HOOK_VALUE_LEN)
        return ERR_FORMAT;
    h.verb = (enum hook_verb)verb;
    *ret = h;
    return 0;
}

int control_send_hooked(int fd, struct span why) {
    return ipc_send(fd, CONTROL_HOOKED, span_of(why.p, MIN(why.len, (size_t)HOOKED_MAX)), NULL, 0);
}
