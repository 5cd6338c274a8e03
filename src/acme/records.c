#include "acme/records.h"

#include <openssl/sha.h>
#include <string.h>

#include "base/base64url.h"
#include "base/err.h"

/* RFC 8555 8.4: the digest of the key authorization. */
static void set_record_value(struct control_hook *h, const char *key_authorization) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct text t = text_of(h->value, sizeof(h->value));
    SHA256((const uint8_t *)key_authorization, strlen(key_authorization), digest);
    base64url_add(&t, span_of(digest, sizeof(digest)));
}

static struct challenge *find_in_state(struct challenges *c, enum record_state state) {
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].record == state)
            return &c->list[i];
    return NULL;
}

/* Removal first: what is to be put into place waits for nobody's deadline but its own. */
static void next_record(struct challenges *c) {
    if (c->supervisor < 0 || find_in_state(c, RECORD_SETTING) || find_in_state(c, RECORD_REMOVING))
        return;
    struct challenge *ch = find_in_state(c, RECORD_UNWANTED);
    bool removes = ch != NULL;
    ch = removes ? ch : find_in_state(c, RECORD_WANTED);
    if (!ch)
        return;
    ch->hook.verb = removes ? HOOK_CLEANUP : HOOK_PRESENT;
    ch->record = removes ? RECORD_REMOVING : RECORD_SETTING;
    if (control_send_hook(c->supervisor, &ch->hook) < 0)
        c->supervisor = -1; /* it is gone, and so are we */
}

void records_want(struct challenges *c, struct challenge *ch, uint16_t issuer, uint16_t cert, uint16_t name, records_fn fn,
                  void *ctx) {
    ch->hook = (struct control_hook){.issuer = issuer, .cert = cert, .name = name};
    set_record_value(&ch->hook, ch->key_authorization);
    ch->record = RECORD_WANTED;
    ch->record_fn = fn;
    ch->record_ctx = ctx;
    next_record(c);
}

void records_release(struct challenges *c, struct challenge *ch) {
    ch->record_fn = NULL;
    if (ch->record == RECORD_WANTED)
        ch->record = RECORD_NONE;
    else if (ch->record == RECORD_SET)
        ch->record = RECORD_UNWANTED;
    next_record(c);
}

void records_hear(struct challenges *c, const struct ipc_msg *m) {
    char why[HOOKED_MAX + 1];
    struct text t = text_of(why, sizeof(why));
    text_add_span(&t, m->body);
    struct challenge *ch = find_in_state(c, RECORD_REMOVING);
    if (ch) { /* one that could not be removed is logged, and left */
        ch->record = RECORD_NONE;
        next_record(c);
        return;
    }
    ch = find_in_state(c, RECORD_SETTING);
    if (!ch)
        return;
    ch->record = !ch->owner ? RECORD_UNWANTED : why[0] ? RECORD_NONE : RECORD_SET;
    next_record(c);
    if (ch->record_fn)
        ch->record_fn(ch->record_ctx, why);
}
