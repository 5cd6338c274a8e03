#include "acme/order_lease.h"

#include "acme/order_internal.h"
#include "base/clock.h"

#define RENEW_MS  20000
#define AGAIN_MS  5000
#define MARGIN_MS 5000 /* our clock may run slower than the store's */
#define LIST_MAX  (CONF_ACME_NAMES_MAX * (CHALLENGE_NAME_MAX + 1))

_Static_assert(LIST_MAX <= SHARING_DATA_MAX, "all names of a certificate are one request");

struct span order_lease_key(const struct order_lease *l) {
    return span_str(l->cert ? managed_first_name(l->cert) : l->account);
}

static bool ask_lease(struct order_lease *l, enum sharing_op op, share_fn fn, void *ctx) {
    static char list[LIST_MAX];
    struct text names = text_of(list, sizeof(list));
    for (size_t i = 0; l->cert && i < l->cert->nnames; i++)
        text_addf(&names, "%s%s", i ? " " : "", l->cert->names[i]);
    if (!l->cert)
        text_add(&names, l->account);
    struct sharing_request q = {.op = op, .lease = order_lease_key(l), .fence = l->fence, .data = span_of(names.p, names.len)};
    return !names.cut && share_link_ask(l->order->env->share, &q, fn, ctx) == 0;
}

bool order_lease_ask(struct order_lease *l, struct order *o, share_fn fn) {
    l->order = o;
    l->fence = 0;
    l->asked_ms = clock_mono_ms();
    return ask_lease(l, SHARING_LEASE, fn, o);
}

static void extend(struct order_lease *l) {
    l->until_ms = l->asked_ms + SHARING_LEASE_MS - MARGIN_MS;
}

static void on_renewed(void *ctx, const struct sharing_answer *a) {
    struct order_lease *l = ctx;
    if (a->result == SHARING_LOST)
        order_lease_lose(l);
    else if (a->result == SHARING_OK)
        extend(l);
    else
        share_link_note(l->order->env->share, "that a lease goes on", a);
}

static void renew(void *ctx) {
    struct order_lease *l = ctx;
    l->asked_ms = clock_mono_ms();
    alarm_clock_set(&l->renewal, ask_lease(l, SHARING_RENEW, on_renewed, l) ? RENEW_MS : AGAIN_MS);
}

void order_lease_begin(struct order_lease *l, uint64_t fence) {
    l->fence = fence;
    extend(l);
    l->renewal = (struct alarm_clock){.loop = l->order->env->loop, .fn = renew, .ctx = l};
    alarm_clock_set(&l->renewal, RENEW_MS);
}

bool order_lease_confirm(struct order_lease *l, struct order *o, share_fn fn) {
    return ask_lease(l, SHARING_RENEW, fn, o);
}

bool order_lease_is_safe(const struct order_lease *l) {
    return !l->fence || clock_mono_ms() < l->until_ms;
}

void order_lease_lose(struct order_lease *l) {
    l->until_ms = 0;
    (void)order_shared_holds(l->order); /* not any more: it has ended */
}

void order_lease_give(struct order_lease *l) {
    if (!l->fence)
        return;
    share_link_cancel(l->order->env->share, l);
    alarm_clock_stop(&l->renewal);
    (void)ask_lease(l, SHARING_GIVE, NULL, NULL);
    l->fence = 0;
}
