/* See prelude.h. The bounds, and the way to the machines. */
#include "prelude/prelude.h"

#include "base/err.h"
#include "prelude/amqp.h"
#include "prelude/ldap.h"
#include "prelude/lines.h"
#include "prelude/postgresql.h"
#include "prelude/xmpp.h"

#define TLS_HANDSHAKE_RECORD 0x16

static const struct prelude_protocol *const protocols[STARTTLS_KINDS] = {
    [STARTTLS_POSTGRESQL] = &prelude_postgresql,
    [STARTTLS_LDAP] = &prelude_ldap,
    [STARTTLS_SIEVE] = &prelude_sieve,
    [STARTTLS_AMQP] = &prelude_amqp,
    [STARTTLS_XMPP_CLIENT] = &prelude_xmpp_client,
    [STARTTLS_SMTP] = &prelude_smtp,
    [STARTTLS_LMTP] = &prelude_lmtp,
    [STARTTLS_IMAP] = &prelude_imap,
    [STARTTLS_POP3] = &prelude_pop3,
    [STARTTLS_NNTP] = &prelude_nntp,
};

const struct prelude_protocol *prelude_protocol(enum starttls protocol) {
    MUST(protocol > STARTTLS_NONE && protocol < STARTTLS_KINDS);
    return protocols[protocol];
}

void prelude_greet(struct prelude *p, struct wr *answer) {
    const char *greeting = prelude_protocol(p->protocol)->greeting;
    if (greeting && !p->greeted)
        wr_span(answer, span_str(greeting));
    p->greeted = greeting != NULL;
}

int prelude_step(struct prelude *p, struct span in, struct wr *answer, size_t *ret_taken) {
    const struct prelude_protocol *d = prelude_protocol(p->protocol);
    *ret_taken = 0;
    if (in.len == 0)
        return PRELUDE_MORE;
    if (p->taken == 0 && !p->greeted && in.p[0] == TLS_HANDSHAKE_RECORD)
        return PRELUDE_DIRECT;
    prelude_greet(p, answer);
    size_t room = PRELUDE_IN_MAX - p->taken, len = 0;
    if (room == 0 || p->units == PRELUDE_UNITS_MAX)
        return ERR_STARTTLS_LIMIT;
    struct span bounded = span_of(in.p, MIN(in.len, room));
    enum step step = d->cut(bounded, &len);
    if (step == STEP_FAILED)
        return ERR_STARTTLS_MALFORMED;
    if (step == STEP_WANT_READ)
        return bounded.len == room ? ERR_STARTTLS_LIMIT : PRELUDE_MORE;
    if (len > room)
        return ERR_STARTTLS_LIMIT;
    if (len > bounded.len)
        return PRELUDE_MORE;
    p->units++;
    p->taken = (uint16_t)(p->taken + len);
    *ret_taken = len;
    return d->take(p, span_of(in.p, len), answer);
}

void prelude_last_words(const struct prelude *p, int reason, struct wr *answer) {
    if (reason != ERR_STARTTLS_QUIT && reason != ERR_STARTTLS_CLEAR && reason != ERR_STARTTLS_CANCEL)
        prelude_protocol(p->protocol)->last_words(p, reason, answer);
}
