/*
 * Our own handshake and a client that has the keys: what it says is changed before it is protected, so that the fuzzer comes
 * behind the records' keys. Beside memory safety and what hs13_raw.h checks of our side: a session has the client's keys, and a
 * service that requires certificates has none with a client that has not proved its own; a client that nobody meddled with gets
 * its session.
 *
 * Input: a byte that chooses service, resumption and retry, then steps: a byte, some with a length and bytes.
 */
#include "../unit/hs13_services.h"
#include "base/rd.h"
#include <openssl/err.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 64

enum op { OP_HONEST, OP_CHANGE, OP_INSERT, OP_CUT, OP_SEND, OP_PLAIN, OP_SESSION, OP_FRAGMENT, OP_TAKE, OP_COUNT };

static EVP_PKEY *client_key;
static X509 *client_cert;
static struct raw_client ticket_owner; /* of a ticket of SERVER's */
static bool meddled, proved;
static unsigned said; /* honest messages so far */

/* The client's next message as it should be; 0 = it has said all. */
static size_t next_message(uint8_t to[static 4096]) {
    unsigned n = said++;
    if (rc.cert_requested && n == 0) {
        uint8_t *der = NULL;
        int len = i2d_X509(client_cert, &der);
        struct span s = span_of(der, (size_t)len);
        size_t whole = write_chain(to, 4096, &s, 1, span_of(NULL, 0));
        OPENSSL_free(der);
        return whole;
    }
    if (rc.cert_requested && n == 1) {
        proved = true;
        return make_proof(client_key, 0x0403, "SHA256", false, false, to);
    }
    return n == (rc.cert_requested ? 2u : 0u) ? raw_finished(&rc, to) : 0;
}

static void say(struct span message) {
    if (message.len == 0)
        return;
    raw_message(&rc, message);
}

static void changed(struct rd *r, enum op op) {
    uint8_t message[4096 + 256];
    size_t len = next_message(message);
    size_t at = rd_u16(r);
    struct span bytes = rd_vec8(r);
    if (len == 0)
        return;
    meddled = true;
    at %= len;
    if (op == OP_CHANGE) {
        for (size_t i = 0; i < bytes.len && at + i < len; i++)
            message[at + i] ^= bytes.p[i];
    } else if (op == OP_INSERT) {
        memmove(message + at + bytes.len, message + at, len - at);
        if (bytes.len)
            memcpy(message + at, bytes.p, bytes.len);
        len += bytes.len;
    } else {
        size_t n = MIN(bytes.len, len - at);
        memmove(message + at, message + at + n, len - at - n);
        len -= n;
    }
    say(span_of(message, len));
}

static void in_fragments(struct rd *r) {
    uint8_t message[4096];
    size_t len = next_message(message), cut = 1 + rd_u8(r) % 64;
    if (len)
        hs13_keys_add(&rc.keys, span_of(message, len));
    for (size_t off = 0; off < len; off += cut)
        raw_seal_with(&rc, &rc.out, CONTENT_HANDSHAKE, span_of(message + off, MIN(cut, len - off)), off % 3);
}

static void one_op(struct rd *r) {
    uint8_t message[4096];
    struct span s;
    uint8_t type;
    enum op op = (enum op)(rd_u8(r) % OP_COUNT);
    switch (op) {
    case OP_HONEST:
        say(span_of(message, next_message(message)));
        break;
    case OP_CHANGE:
    case OP_INSERT:
    case OP_CUT:
        changed(r, op);
        break;
    case OP_FRAGMENT:
        in_fragments(r);
        break;
    case OP_SEND:
    case OP_PLAIN:
        type = rd_u8(r);
        s = rd_vec8(r);
        meddled = true;
        if (op == OP_PLAIN)
            raw_plain(&rc, type, s);
        else
            raw_seal_with(&rc, &rc.out, type, s, type % 5);
        break;
    case OP_SESSION: { /* under a key that is not the client's yet */
        struct traffic_keys session = {.seq = 0};
        s = rd_vec8(r);
        meddled = true;
        memcpy(session.secret, rc.client_app, sizeof(session.secret));
        hs13_keys_traffic(rc.suite, &session);
        raw_seal_with(&rc, &session, CONTENT_APPLICATION_DATA, s, 0);
        break;
    }
    default:
        last = hs13_conn_step(&conn, &rc.sent);
    }
}

static void check_session(const struct tls_server *with) {
    struct handshake_result result;
    int err = hs13_finish(conn.h, &result);
    MUST((err == 0) == (last == HS13_DONE));
    if (err)
        return;
    MUST(record_layer_valid(&result.record_layer));
    MUST(memcmp(result.record_layer.in.secret, rc.client_app, hash_len(rc.suite->hash)) == 0);
    MUST(with != strict || (result.client && result.client->verified && proved));
    MUST(result.record_layer.in.seq == 0);
    record_layer_wipe(&result.record_layer);
}

/* Up to our flight. */
static void greet(const struct tls_server *with, uint8_t choice) {
    hs13_conn_open(&conn, &env, with, &shop);
    raw_open(&rc, &contexts);
    raw_hello_usual(&hello);
    raw_share(&rc, &hello, 0x001d);
    if (choice & 4)
        raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
    if (choice & 8 && ticket_owner.ticket_len && with == server)
        raw_offer_ticket(&rc, &hello, span_of(ticket_owner.ticket, ticket_owner.ticket_len), ticket_owner.ticket_psk,
                         HASH_SHA256);
    raw_hello(&rc, &hello);
    last = hs13_conn_step(&conn, &rc.sent);
    raw_hear(&rc, &conn.out);
    if (rc.retry) {
        struct raw_ext psk = {0};
        if (rc.has_psk)
            psk = hello.exts[--hello.nexts];
        raw_share(&rc, &hello, rc.retry_group);
        if (rc.has_psk)
            hello.exts[hello.nexts++] = psk;
        raw_hello(&rc, &hello);
        last = hs13_conn_step(&conn, &rc.sent);
        raw_hear(&rc, &conn.out);
    }
    MUST(last == HS13_WANT_READ && rc.flight_done);
}

static void run(const struct tls_server *with, uint8_t choice, struct rd *r) {
    meddled = proved = false;
    said = 0;
    greet(with, choice);
    for (unsigned i = 0; i < STEPS_MAX && last == HS13_WANT_READ && rd_left(r); i++)
        one_op(r);
    for (int i = 0; i < 4 && last == HS13_WANT_READ; i++) {
        uint8_t message[4096];
        say(span_of(message, next_message(message)));
        last = hs13_conn_step(&conn, &rc.sent);
    }
    MUST(meddled || last == HS13_DONE);
    if (last == HS13_DONE)
        hs13_keys_derive(&rc.keys, "res master", rc.resumption);
    raw_hear(&rc, &conn.out);
    uint8_t alert = 0;
    MUST(last != HS13_FAILED || err_known(hs13_error(conn.h, &alert)));
    check_session(with);
}

static void begin(void) {
    struct rd none = rd_of(span_of(NULL, 0));
    cases_setup(NULL);
    client_key = make_key("EC:P-256");
    client_cert = issue(client_key, "robot");
    run(server, 0, &none);
    memcpy(ticket_owner.ticket, rc.ticket, ticket_owner.ticket_len = rc.ticket_len);
    memcpy(ticket_owner.ticket_psk, rc.ticket_psk, sizeof(rc.ticket_psk));
    MUST(ticket_owner.ticket_len);
    hs13_conn_close(&conn);
    raw_close(&rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!server)
        begin();
    if (size == 0)
        return 0;
    struct rd r = rd_of(span_of(data + 1, size - 1));
    struct tls_server *const services[] = {server, lax, strict, server};
    run(services[data[0] & 3], data[0], &r);
    MUST(ERR_peek_error() == 0);
    hs13_conn_close(&conn);
    raw_close(&rc);
    MUST(env.states.used == 0);
    return 0;
}
