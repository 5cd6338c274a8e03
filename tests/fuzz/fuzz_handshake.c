/*
 * Our side of the handshake with a client that is libssl's until the input says otherwise: after its valid hello its bytes are
 * cut, changed, repeated, omitted, or replaced by any others. Beside memory safety: input is taken in whole records and never
 * twice, what we answer is whole records, failures have a known reason and at most one alert of ours, a record layer that comes
 * out is valid; and a client that nobody meddled with gets its session, however its records are cut and whatever dummy
 * ChangeCipherSpec records it sends in 1.3.
 *
 * Input: a byte that chooses the client, then steps: a byte, some with a length and bytes.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "../unit/hs_service.h"
#include "base/err.h"
#include "base/rd.h"
#include "tls/hello_find.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 200

enum op { OP_HONEST, OP_RAW, OP_RECORD, OP_CHANGE, OP_CUT, OP_REPEAT, OP_TAKE, OP_TAKE_PART, OP_CCS, OP_COUNT };

static struct tls_server *server;
static SSL_CTX *client_ctx;
static SSL_SESSION *sessions[2]; /* to resume: 1.2, 1.3 */

static SSL *client;
static BIO *from_client, *to_client;
static struct handshake *hs;
static struct buf pending, answer;
static bool meddled;
static unsigned dummies; /* ChangeCipherSpec records of our making */

static void receive_client(void) {
    uint8_t bytes[16 * 1024];
    (void)SSL_do_handshake(client); /* progress shows in the bytes */
    ERR_clear_error();
    for (int n; (n = BIO_read(from_client, bytes, sizeof(bytes))) > 0;)
        MUST(buf_append(&pending, bytes, (size_t)n) == 0);
}

/* Whole records and nothing else: the client must be able to read them. */
static void check_answer(void) {
    struct rd r = rd_of(buf_span(&answer));
    while (rd_left(&r)) {
        uint8_t type = rd_u8(&r);
        MUST(type >= CONTENT_CHANGE_CIPHER_SPEC && type <= CONTENT_APPLICATION_DATA);
        (void)rd_u16(&r); /* in alerts libssl repeats what the client wrote */
        struct span body = rd_vec16(&r);
        MUST(!r.bad && body.len <= RECORD_WIRE_MAX - RECORD_HEADER_LEN);
    }
}

static void answer_client(void) {
    struct span s = buf_span(&answer);
    check_answer();
    if (s.len)
        MUST(BIO_write(to_client, s.p, (int)s.len) == (int)s.len);
    buf_consume(&answer, s.len);
}

static void open_client(uint8_t choice) {
    static const char *const groups[] = {"X25519", "P-521:P-256", "P-384", "X25519:P-256"};
    client = SSL_new(client_ctx);
    to_client = BIO_new(BIO_s_mem());
    from_client = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(to_client, -1);
    SSL_set_bio(client, to_client, from_client);
    SSL_set_connect_state(client);
    int version = choice & 1 ? TLS_1_2 : TLS_1_3;
    MUST(SSL_set_min_proto_version(client, version) == 1 && SSL_set_max_proto_version(client, version) == 1);
    MUST(SSL_set1_groups_list(client, (uintptr_t)groups[choice >> 1 & 3]) == 1);
    SSL_SESSION *session = sessions[version == TLS_1_3];
    if (choice & 8 && session)
        MUST(SSL_set_session(client, session) == 1);
}

/* The hello is in one record: from here on it is in records of PIECE bytes. */
static void cut_hello(size_t piece) {
    static uint8_t hello[4096];
    struct span s = buf_span(&pending);
    MUST(s.len > RECORD_HEADER_LEN && s.len <= sizeof(hello));
    memcpy(hello, s.p, s.len);
    size_t len = s.len;
    buf_consume(&pending, len);
    for (size_t at = RECORD_HEADER_LEN; at < len; at += piece) {
        size_t n = MIN(piece, len - at);
        const uint8_t header[] = {CONTENT_HANDSHAKE, 3, (uint8_t)at, (uint8_t)(n >> 8), (uint8_t)n};
        MUST(buf_append(&pending, header, sizeof(header)) == 0 && buf_append(&pending, hello + at, n) == 0);
    }
}

/* A handshake made from the client's own hello. */
static void meet(uint8_t choice) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    struct span message;
    struct hello hello;
    size_t wire_len;
    int err = 0;
    receive_client();
    if (choice & 0xf0)
        cut_hello((size_t)(choice >> 4) * (choice >> 4));
    MUST(hello_find(&(struct hello_scan){0}, buf_span(&pending), scratch, &message, &wire_len, &err) == STEP_DONE);
    MUST(hello_parse(message, &hello) == 0 && tls_server_check(server, &hello) == 0);
    MUST(handshake_new(server, &hello, &answer, NULL, &hs) == 0);
}

static enum step take(size_t n) {
    static const uint8_t none[1];
    struct span in = buf_span(&pending);
    in = in.len ? span_of(in.p, MIN(in.len, n)) : span_of(none, 0); /* NULL + 0 is undefined in C */
    const uint8_t *start = in.p, *end = in.p + in.len;
    enum step step = handshake_step(hs, &in);
    MUST(in.p >= start && in.p + in.len == end);
    MUST(step == STEP_DONE || step == STEP_WANT_READ || step == STEP_FAILED);
    MUST(handshake_waiting_for(hs)[0] != 0);
    if (step == STEP_WANT_READ)
        MUST(in.len < HELLO_WIRE_MAX); /* a hello is taken as a whole */
    if (step == STEP_FAILED) {
        uint8_t alert = 0;
        int err = handshake_error(hs, &alert);
        MUST(err_known(err) && (err == ERR_PEER_ALERT) == (alert != 0));
        handshake_alert(hs, err);
        size_t once = buf_len(&answer);
        handshake_alert(hs, ERR_RECORD_OVERFLOW);
        MUST(buf_len(&answer) == once || err_alert(err) == ALERT_NONE);
    }
    MUST(ERR_peek_error() == 0);
    buf_consume(&pending, (size_t)(in.p - start));
    return step;
}

static void change_byte(struct rd *r) {
    struct span s = buf_span(&pending);
    size_t at = rd_u16(r);
    uint8_t to = rd_u8(r);
    if (s.len == 0)
        return;
    ((uint8_t *)(uintptr_t)s.p)[at % s.len] = to;
    meddled = true;
}

/* The first record once more, behind the others. */
static void repeat_record(void) {
    uint8_t copy[RECORD_WIRE_MAX];
    struct span s = buf_span(&pending);
    if (s.len < RECORD_HEADER_LEN)
        return;
    size_t len = MIN(MIN(RECORD_HEADER_LEN + (size_t)(s.p[3] << 8 | s.p[4]), s.len), sizeof(copy));
    memcpy(copy, s.p, len);
    MUST(buf_append(&pending, copy, len) == 0);
    meddled = true;
}

static void append_record(struct rd *r) {
    uint8_t type = rd_u8(r);
    struct span body = rd_vec8(r);
    uint8_t header[] = {type, 3, 3, 0, (uint8_t)body.len};
    MUST(buf_append(&pending, header, sizeof(header)) == 0 && buf_append(&pending, body.p, body.len) == 0);
    meddled = true;
}

/* Behind a whole record of an honest client of 1.3 it means nothing. */
static void append_dummy(void) {
    static const uint8_t ccs[] = {CONTENT_CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1};
    MUST(buf_append(&pending, ccs, sizeof(ccs)) == 0);
    meddled = meddled || SSL_version(client) != TLS_1_3 || SSL_is_init_finished(client) || ++dummies > 16;
}

static enum step one_op(struct rd *r) {
    struct span s;
    size_t n;
    switch (rd_u8(r) % OP_COUNT) {
    case OP_HONEST:
        answer_client();
        receive_client();
        return STEP_WANT_READ;
    case OP_RAW:
        s = rd_vec8(r);
        MUST(buf_append(&pending, s.p, s.len) == 0);
        meddled = meddled || s.len;
        return STEP_WANT_READ;
    case OP_RECORD:
        append_record(r);
        return STEP_WANT_READ;
    case OP_CHANGE:
        change_byte(r);
        return STEP_WANT_READ;
    case OP_CUT:
        s = buf_span(&pending);
        meddled = meddled || s.len;
        n = rd_u16(r);
        buf_consume(&pending, MIN(s.len, n));
        return STEP_WANT_READ;
    case OP_REPEAT:
        repeat_record();
        return STEP_WANT_READ;
    case OP_TAKE_PART:
        return take(rd_u8(r));
    case OP_CCS:
        append_dummy();
        return STEP_WANT_READ;
    default:
        return take(SIZE_MAX);
    }
}

static void finish(enum step step) {
    struct handshake_result result;
    int err = handshake_finish(hs, &result);
    MUST(step == STEP_DONE || err == ERR_LEAVE);
    MUST(err == 0 || meddled);
    if (err == 0) {
        MUST(record_layer_valid(&result.record_layer));
        record_layer_wipe(&result.record_layer);
        answer_client();
        receive_client();
        MUST(meddled || SSL_is_init_finished(client));
    }
}

static void close_all(void) {
    check_answer();
    handshake_free(hs);
    hs = NULL;
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(client);
    ERR_clear_error();
    buf_fini(&pending);
    buf_fini(&answer);
}

static void run(uint8_t choice, struct rd *r) {
    enum step step = STEP_WANT_READ;
    meddled = false;
    dummies = 0;
    open_client(choice);
    meet(choice);
    for (unsigned i = 0; i < STEPS_MAX && step == STEP_WANT_READ && rd_left(r); i++)
        step = one_op(r);
    for (int i = 0; i < 4 && step == STEP_WANT_READ; i++) {
        step = take(SIZE_MAX);
        answer_client();
        if (step == STEP_WANT_READ)
            receive_client();
    }
    MUST(meddled || step == STEP_DONE);
    finish(step);
}

/* One ticket of each version, from an honest handshake. */
static void get_sessions(void) {
    for (uint8_t v = 0; v < 2; v++) {
        struct rd none = rd_of(span_of(NULL, 0));
        uint8_t byte;
        run(v ? 0 : 1, &none);
        (void)SSL_read(client, &byte, 1); /* takes the ticket of 1.3 in */
        sessions[v] = SSL_get1_session(client);
        MUST(sessions[v] && SSL_SESSION_is_resumable(sessions[v]));
        close_all();
    }
}

static void begin(void) {
    struct tls_policy p = service_policy("web");
    client_ctx = SSL_CTX_new(TLS_client_method());
    server = service_new(&p, service_certs_both(), service_tickets(1));
    (void)tls_server_selftest(server); /* as a handshaker does; both ways to the secrets are well */
    buf_init(&pending, 1024 * 1024);
    buf_init(&answer, 128 * 1024);
    get_sessions();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!server)
        begin();
    if (size == 0)
        return 0;
    struct rd r = rd_of(span_of(data + 1, size - 1));
    run(data[0], &r);
    close_all();
    return 0;
}
