/*
 * Our own handshake and a client of any bytes: whole hellos, records, and what a hello is followed by. Beside memory safety:
 * input is taken in whole records and never twice, what we answer is whole records that a client with the keys can read
 * (hs13_raw.h), failures have a known reason and one alert at most, nothing is left of a handshake, and without a Finished
 * there is no session.
 *
 * Input: a byte for the service (low bits) and the size of the pieces it arrives in, then the client's bytes as they come.
 */
#include <openssl/err.h>

#include "../unit/hs13_raw.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct engine_contexts contexts;
static struct hs13_env env;
static struct hs13_shop shop;
static struct tls_server *server;

static uint8_t counter;

static void same_random(void *to, size_t n) {
    memset(to, ++counter, n);
}

static void begin(void) {
    static const char *const types[] = {"EC:P-256"};
    static const uint16_t groups[] = {0x001d, 0x0017, 0x0018, 0x0019};
    struct tls_policy p = service_policy("web");
    p.groups = groups;
    p.ngroups = ARRAY_LEN(groups);
    engine_contexts_init(&contexts, engine_find("auto"));
    MUST(hs13_env_init(&env, &contexts, 4) == 0);
    env.random = same_random;
    shop = hs13_shop_new(types, 1);
    server = service_new(&p, shop.certs, service_tickets(1));
}

/* Whole records and nothing else. */
static void check_records(struct span out) {
    struct rd r = rd_of(out);
    while (rd_left(&r)) {
        uint8_t type = rd_u8(&r);
        MUST(type >= CONTENT_CHANGE_CIPHER_SPEC && type <= CONTENT_APPLICATION_DATA);
        MUST(rd_u16(&r) == TLS_1_2);
        struct span body = rd_vec16(&r);
        MUST(!r.bad && body.len > 0 && body.len <= RECORD_WIRE_MAX - RECORD_HEADER_LEN);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hs13_conn conn;
    struct buf in;
    if (!server)
        begin();
    if (size < 1)
        return 0;
    counter = 0;
    size_t piece = data[0] & 0xf0 ? (size_t)(data[0] >> 4) * 37 : size;
    hs13_conn_open(&conn, &env, server, data[0] & 1 ? &shop : NULL);
    buf_init(&in, 1024 * 1024);
    enum hs13_step step = HS13_WANT_READ;
    for (size_t off = 1; off < size && step == HS13_WANT_READ; off += piece) {
        size_t n = MIN(piece, size - off);
        MUST(buf_append(&in, data + off, n) == 0);
        size_t before = buf_len(&in);
        step = hs13_conn_step(&conn, &in);
        MUST(buf_len(&in) <= before);
    }
    MUST(step != HS13_DONE); /* nobody guesses a Finished */
    MUST(step != HS13_FAILED || err_known(hs13_conn_error(&conn)));
    if (step == HS13_WANT_SIGN)
        step = hs13_signed(conn.h, ERR_SIGNER_TIMEOUT, span_of(NULL, 0));
    check_records(buf_span(&conn.out));
    MUST(!conn.h || hs13_waiting_for(conn.h)[0]);
    MUST(ERR_peek_error() == 0);
    hs13_conn_close(&conn);
    buf_fini(&in);
    MUST(env.states.used == 0);
    return 0;
}
