/*
 * Whether our own handshake branches, or indexes memory, by its secrets. Run under valgrind's memcheck, to which a secret is
 * undefined memory: it reports every jump and every address that depends on it (meson.build runs it; without valgrind it only
 * shakes hands). Secret are the exchange's result and a ticket's key, and with them all that is derived from them.
 *
 * Declassified are, since the outcome is public: what leaves on the wire, keys at the door of the AEAD (libcrypto's
 * business), and by ct_hs13.supp whether Finished and a binder were right.
 *
 *   ct_hs13 [leak]    LEAK: branches by a secret on purpose, to show that it would be seen
 */
#include <time.h>
#include <valgrind/memcheck.h>

#include "hs13_raw.h"
#include "tls/server_internal.h"

#define SECRET(p, n) (void)VALGRIND_MAKE_MEM_UNDEFINED(p, n)
#define PUBLIC(p, n) (void)VALGRIND_MAKE_MEM_DEFINED(p, n)

static struct hs13_env env;
static bool leak;
static volatile unsigned leaked;

/* ---- where secrets come from ---- */

static int secret_exchange(uint16_t group, struct span peer, struct hs13_share *ret) {
    int err = hs13_exchange(group, peer, ret);
    if (leak && ret->secret[0] == 7)
        leaked++;
    SECRET(ret->secret, ret->secret_len);
    if (leak && ret->secret[0] == 7)
        leaked++;
    return err;
}

/* The first call after a ticket was opened: its key is secret from there. */
time_t __real_time(time_t *t);
time_t __wrap_time(time_t *t);
time_t __wrap_time(time_t *t) {
    SECRET(env.scratch->ticket.psk, sizeof(env.scratch->ticket.psk));
    return __real_time(t);
}

/* ---- where they are libcrypto's business ---- */

static int set_key(void *ctx, const uint8_t *key) {
    uint8_t copy[AEAD_KEY_MAX];
    memcpy(copy, key, sizeof(copy));
    PUBLIC(copy, sizeof(copy));
    return engine_libcrypto.set_key(ctx, copy);
}

static int seal(void *ctx, const uint8_t nonce[static AEAD_NONCE_LEN], struct span aad, uint8_t *data, size_t len,
                uint8_t tag[static AEAD_TAG_LEN]) {
    uint8_t copy[AEAD_NONCE_LEN];
    memcpy(copy, nonce, sizeof(copy));
    PUBLIC(copy, sizeof(copy));
    PUBLIC(data, len);
    return engine_libcrypto.seal(ctx, copy, aad, data, len, tag);
}

static int open_record(void *ctx, const uint8_t nonce[static AEAD_NONCE_LEN], struct span aad, uint8_t *data, size_t len,
                       const uint8_t tag[static AEAD_TAG_LEN]) {
    uint8_t copy[AEAD_NONCE_LEN];
    memcpy(copy, nonce, sizeof(copy));
    PUBLIC(copy, sizeof(copy));
    return engine_libcrypto.open(ctx, copy, aad, data, len, tag);
}

/* ---- a handshake ---- */

struct session {
    uint8_t ticket[HS13_TICKET_MAX], psk[HASH_LEN_MAX];
    size_t len;
    unsigned hash;
};

/* All that the server has sent is known to the world, and the client knows its own keys. */
static void hear(struct raw_client *c, struct hs13_conn *conn) {
    struct span s = buf_span(&conn->out);
    PUBLIC(s.p, s.len);
    raw_hear(c, &conn->out);
}

static void shake(const struct tls_server *server, const struct hs13_shop *shop, struct engine_contexts *theirs,
                  const char suite[static 2], bool retry, struct session *resumed) {
    static struct raw_client c;
    static struct raw_hello hello;
    struct hs13_conn conn;
    hs13_conn_open(&conn, &env, server, shop);
    raw_open(&c, theirs);
    raw_hello_usual(&hello);
    hello.suites = span_of(suite, 2);
    raw_share(&c, &hello, 0x001d);
    if (retry)
        raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
    if (resumed->len)
        raw_offer_ticket(&c, &hello, span_of(resumed->ticket, resumed->len), resumed->psk, resumed->hash);
    raw_hello(&c, &hello);
    MUST(hs13_conn_step(&conn, &c.sent) == HS13_WANT_READ);
    hear(&c, &conn);
    if (retry) {
        struct raw_ext psk = hello.exts[hello.nexts - 1];
        hello.nexts -= resumed->len > 0;
        raw_share(&c, &hello, c.retry_group);
        if (resumed->len)
            hello.exts[hello.nexts++] = psk;
        raw_hello(&c, &hello);
        MUST(hs13_conn_step(&conn, &c.sent) == HS13_WANT_READ);
        hear(&c, &conn);
    }
    MUST(c.flight_done && c.resumed == (resumed->len > 0));
    raw_finish(&c);
    MUST(hs13_conn_step(&conn, &c.sent) == HS13_DONE);
    hear(&c, &conn);
    MUST(c.tickets == 1);
    memcpy(resumed->ticket, c.ticket, resumed->len = c.ticket_len);
    memcpy(resumed->psk, c.ticket_psk, sizeof(resumed->psk));
    resumed->hash = c.suite->hash;
    hs13_conn_close(&conn);
    raw_close(&c);
}

int main(int argc, char **argv) {
    static const char *const types[] = {"EC:P-256"};
    static const uint16_t groups[] = {0x001d};
    struct engine engine = engine_libcrypto;
    struct engine_contexts ours, theirs;
    struct tls_policy p = service_policy("web");
    leak = argc > 1 && strcmp(argv[1], "leak") == 0;
    engine.set_key = set_key;
    engine.seal = seal;
    engine.open = open_record;
    engine_contexts_init(&ours, &engine);
    engine_contexts_init(&theirs, &engine_libcrypto);
    MUST(hs13_env_init(&env, &ours, 4) == 0);
    env.exchange = secret_exchange;
    struct hs13_shop shop = hs13_shop_new(types, 1);
    struct tickets *tickets = service_tickets(1);
    p.groups = groups;
    p.ngroups = 1;
    struct tls_server *server = service_new(&p, shop.certs, tickets);
    for (int suite = 1; suite <= 3; suite++)
        for (int retry = 0; retry < 2; retry++) {
            const char id[2] = {0x13, (char)suite};
            struct session s = {.len = 0};
            shake(server, &shop, &theirs, id, retry, &s);
            shake(server, &shop, &theirs, id, retry, &s);
        }
    tls_server_free(server);
    tickets_free(tickets);
    certs_free(shop.certs);
    hs13_env_fini(&env);
    engine_contexts_fini(&ours);
    engine_contexts_fini(&theirs);
    return 0;
}
