#include "acme/far_challenges.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "wire/event.h"

bool far_may_be(const struct far_challenges *f, struct span name) {
    char asked[CHALLENGE_NAME_MAX + 1];
    for (size_t i = 0; i < f->acme->ncerts; i++)
        for (size_t k = 0; k < f->acme->certs[i].nnames; k++) {
            struct text t = text_of(asked, sizeof(asked));
            challenge_asked_name(CHALLENGE_TLS_ALPN_01, f->acme->certs[i].names[k], &t);
            if (t.len == name.len && strncasecmp(asked, (const char *)name.p, name.len) == 0)
                return true;
        }
    return false;
}

static void decide_place(struct far_place *p, enum far_state state) {
    p->state = state;
    p->unknown_since = 0;
    p->far->answered(p->far->ctx);
    if (p->state != FAR_ASKED) /* else it is another question's by now */
        p->name[0] = 0;        /* never believed later: what is offered next must be found */
}

static bool is_own_place(const struct far_place *p) {
    return far_accounts_has(p->far->accounts, challenge_thumbprint(&p->found));
}

/* Another instance may have made the account a moment ago: before it is refused, it is looked for. */
static void on_found(void *ctx, const struct sharing_answer *a) {
    struct far_place *p = ctx;
    if (a->result != SHARING_OK || !challenge_unpack(a->data, &p->found)) {
        decide_place(p, FAR_NONE);
    } else if (is_own_place(p)) {
        decide_place(p, FAR_FOUND);
    } else {
        p->unknown_since = p->far->accounts->round + 1;
        far_accounts_look(p->far->accounts);
    }
}

static void refuse(struct far_place *p) {
    struct far_challenges *f = p->far;
    uint32_t times = log_pause_over(&f->pause, f->share->fleet.loop->now_ms);
    if (times)
        log_msg(f->log, LOG_LEVEL_WARNING,
                "the challenge %s in the store of the fleet is not answered: it is for an account that is none of ours, so "
                "somebody else has put it there (%u since the last line)",
                p->name, (unsigned)times);
    decide_place(p, FAR_NONE);
}

void far_decide(struct far_challenges *f, uint64_t round) {
    for (size_t i = 0; i < FAR_PLACES; i++) {
        struct far_place *p = &f->places[i];
        if (!p->name[0] || !p->unknown_since || p->unknown_since > round)
            continue;
        if (is_own_place(p))
            decide_place(p, FAR_FOUND);
        else
            refuse(p);
    }
}

static struct far_place *free_far_place(struct far_challenges *f) {
    for (size_t i = 0; i < FAR_PLACES; i++)
        if (!f->places[i].name[0])
            return &f->places[i];
    return NULL;
}

static enum far_state ask_for(struct far_challenges *f, const char *name) {
    struct far_place *p = free_far_place(f);
    struct sharing_request q = {.op = SHARING_FIND, .name = span_str(name)};
    if (!p || share_link_ask(f->share, &q, on_found, p) < 0)
        return FAR_NONE;
    *p = (struct far_place){.far = f, .state = FAR_ASKED};
    memcpy(p->name, name, strlen(name) + 1);
    return FAR_ASKED;
}

enum far_state far_find(struct far_challenges *f, enum challenge_type type, struct span name, const struct challenge **ret) {
    char key[CHALLENGE_SHARED_MAX];
    struct text t = text_of(key, sizeof(key));
    text_addf(&t, "%s/", challenge_type_name(type));
    for (size_t i = 0; i < name.len; i++) {
        uint8_t ch = name.p[i];
        if (type == CHALLENGE_TLS_ALPN_01 && ch >= 'A' && ch <= 'Z')
            ch = (uint8_t)(ch + 32);
        text_add_span(&t, span_of(&ch, 1));
    }
    if (t.cut || name.len == 0 || name.len > CHALLENGE_NAME_MAX - 16)
        return FAR_NONE;
    for (size_t i = 0; i < FAR_PLACES; i++) {
        struct far_place *p = &f->places[i];
        if (strcmp(p->name, key) != 0)
            continue;
        *ret = p->state == FAR_FOUND ? &p->found : NULL;
        return p->state;
    }
    return ask_for(f, key);
}
