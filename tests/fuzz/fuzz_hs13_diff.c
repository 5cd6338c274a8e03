/*
 * One ClientHello for both paths: our own handshake and libssl's, with the same service, must come to the same decision:
 * refusal with the same alert, retry for the same group, or a flight with the same suite, group, certificate, scheme, protocol
 * name, resumption and request for a certificate. Accepted ones are brought to their end on both. Where the paths differ and
 * may, explained() says why; anything else is a finding.
 *
 * Input: a byte that chooses service and ticket (none; each path its own; each path the other's), then edits of a usual hello:
 * a byte, some with a type, a length and bytes; after OP_SECOND they are of the second hello.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "../unit/cert_decompress.h"
#include "../unit/hs13_services.h"
#include "base/rd.h"
#include "fixed_exchange.h"
#include "tls/cert_compress.h"
#include "tls/server_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 48

enum op {
    OP_SET,
    OP_DROP,
    OP_ADD,
    OP_SUITES,
    OP_SESSION_ID,
    OP_VERSION,
    OP_RANDOM,
    OP_COMPRESSION,
    OP_SHARE,
    OP_SWAP,
    OP_SECOND,
    OP_COUNT
};
enum path { OURS, LIBSSL, PATHS };

/* What a path made of it. */
struct outcome {
    bool failed, retry, flight, resumed, cert_requested, done;
    int alert; /* ALERT_NONE: silence */
    uint16_t suite, group, scheme;
    struct span alpn, leaf; /* borrow the flight */
};

struct side {
    struct raw_client c;
    struct buf out;
    struct hs13_conn own;
    struct handshake *libssl;
    bool failed, done, limited; /* by libssl's bounds */
    struct kept_ticket {
        uint8_t bytes[HS13_TICKET_MAX];
        size_t len;
        uint8_t psk[HASH_LEN_MAX];
    } ticket;
};

static struct side sides[PATHS];
static struct hello judged; /* the last one for both; borrows for_both()'s bytes */
static const struct tls_server *judged_by;
static struct hs13_shop crossed_shop; /* each leaf by an authority with a key of the other kind */
static struct tls_server *crossed;
static struct span unpacked; /* the Certificate message of ours that was compressed last */

/* What a run amounts to: inputs whose hello the checks of both paths refuse alike are none. Printed at the end. */
static struct { unsigned long long inputs, hellos, retries, resumed, done, explained; } counts;

static void print_counts(void) {
    fprintf(stderr,
            "%llu inputs: %llu hellos to both paths, %llu of them second ones; %llu resumed, %llu sessions, %llu explained\n",
            counts.inputs, counts.hellos, counts.retries, counts.resumed, counts.done, counts.explained);
}

/* Extensions that libssl reads and we do not: what is wrong inside of them only it can say. */
static bool only_libssl_reads(uint16_t type) {
    static const uint16_t types[] = {11, 14, 17, 18, 20, 21, 22, 23, 35, 44, 47, 13172, 65281};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i] == type)
            return true;
    return false;
}

/* ---- one path ---- */

static void step_side(enum path path, const struct tls_server *with) {
    struct side *s = &sides[path];
    if (s->failed || s->done)
        return;
    if (path == OURS) {
        enum hs13_step step = hs13_conn_step(&s->own, &s->c.sent);
        s->failed = step == HS13_FAILED;
        s->done = step == HS13_DONE;
        MUST(buf_append(&s->out, buf_span(&s->own.out).p, buf_len(&s->own.out)) == 0);
        buf_fini(&s->own.out);
        return;
    }
    struct span in = buf_span(&s->c.sent);
    size_t before = in.len;
    if (!s->libssl) {
        static uint8_t scratch[HELLO_MESSAGE_MAX];
        struct span message;
        struct hello h;
        size_t wire_len;
        int err = 0;
        MUST(hello_find(&(struct hello_scan){0}, in, scratch, &message, &wire_len, &err) == STEP_DONE &&
             hello_parse(message, &h) == 0);
        err = handshake_new(with, &h, &s->out, NULL, &s->libssl);
        MUST(err == 0 || err == ERR_LIMIT);
        s->limited = s->failed = err < 0;
        if (err < 0)
            return;
    }
    enum step step = handshake_step(s->libssl, &in);
    s->failed = step == STEP_FAILED;
    if (s->failed) {
        uint8_t alert;
        int err = handshake_error(s->libssl, &alert);
        s->limited = err == ERR_LIMIT;
        handshake_alert(s->libssl, err); /* nothing where libssl has sent its own */
    }
    s->done = step == STEP_DONE;
    buf_consume(&s->c.sent, before - in.len);
    ERR_clear_error();
}

static void open_sides(const struct tls_server *with) {
    for (int p = 0; p < PATHS; p++) {
        struct side *s = &sides[p];
        raw_open(&s->c, &contexts);
        buf_init(&s->out, 512 * 1024);
        s->failed = s->done = s->limited = false;
        s->libssl = NULL;
    }
    sides[LIBSSL].c.any_version = true;
    hs13_conn_open(&sides[OURS].own, &env, with, with == crossed ? &crossed_shop : &shop);
}

static void close_sides(void) {
    for (int p = 0; p < PATHS; p++) {
        raw_close(&sides[p].c);
        buf_fini(&sides[p].out);
    }
    hs13_conn_close(&sides[OURS].own);
    handshake_free(sides[LIBSSL].libssl);
    sides[LIBSSL].libssl = NULL;
    ERR_clear_error();
    MUST(env.states.used == 0);
}

/* What both clients sent; both have the same key for their share. */
static void share_for_both(uint16_t group) {
    EVP_PKEY *key = fixed_ready ? fixed_of(group)->keys[FIXED_CLIENT] : raw_key(group);
    for (int p = 0; p < PATHS; p++) {
        MUST(EVP_PKEY_up_ref(key) == 1);
        raw_share_with(&sides[p].c, &hello, group, key);
    }
    if (!fixed_ready)
        EVP_PKEY_free(key);
}

static void say_hello(const struct tls_server *with, bool ticket, bool swapped) {
    for (int p = 0; p < PATHS; p++) {
        struct side *s = &sides[p];
        const struct kept_ticket *t = &sides[swapped ? 1 - p : p].ticket;
        if (ticket && t->len)
            raw_offer_ticket(&s->c, &hello, span_of(t->bytes, t->len), t->psk, HASH_SHA256);
        raw_hello(&s->c, &hello);
        if (ticket && t->len)
            hello.nexts--;
        /* raw_first is of this side: its transcript begins here */
        step_side((enum path)p, with);
        if (!s->failed || buf_len(&s->out))
            raw_hear(&s->c, &s->out);
    }
}

static struct outcome outcome_of(const struct side *s) {
    struct outcome o = {.failed = s->failed, .retry = s->c.retry, .flight = s->c.flight_done, .done = s->done};
    o.alert = s->c.alerts ? s->c.alert : ALERT_NONE;
    if (s->failed && s->own.env && !s->own.h) /* the same check refuses it on both paths, and its caller sends the alert */
        o.alert = err_alert(s->own.err);
    o.resumed = s->c.resumed;
    o.cert_requested = s->c.cert_requested;
    o.suite = s->c.suite ? s->c.suite->id : 0;
    o.group = s->c.flight_done ? s->c.group : s->c.retry_group;
    struct rd r = rd_of(span_of(s->c.flight, s->c.flight_len));
    while (rd_left(&r)) {
        uint8_t type = rd_u8(&r);
        struct rd body = rd_of(rd_vec24(&r));
        if (type == MSG_CERTIFICATE_VERIFY)
            o.scheme = rd_u16(&body);
        if (type == MSG_COMPRESSED_CERTIFICATE) {
            uint16_t id;
            free((void *)(uintptr_t)unpacked.p);
            unpacked = cert_decompress(span_of(body.p, rd_left(&body)), &id);
            body = rd_of(unpacked);
        }
        if (type == MSG_CERTIFICATE || type == MSG_COMPRESSED_CERTIFICATE) {
            (void)rd_vec8(&body);
            struct rd list = rd_of(rd_vec24(&body));
            o.leaf = rd_vec24(&list);
        }
        if (type == MSG_ENCRYPTED_EXTENSIONS) {
            struct rd exts = rd_of(rd_vec16(&body));
            while (rd_left(&exts)) {
                uint16_t ext = rd_u16(&exts);
                struct span data = rd_vec16(&exts);
                if (ext == EXT_PROTOCOLS)
                    o.alpn = data;
            }
        }
    }
    return o;
}

/* ---- both ---- */

/* libssl 3.0 takes the client's first share of a group that it has, 3.5 and we our first group among them. */
static bool group_by_their_order(const struct outcome *a, const struct outcome *b) {
    return a->flight && b->flight && a->group != b->group;
}

static bool has_only_libssls(void) {
    for (size_t i = 0; i < hello.nexts; i++)
        if (only_libssl_reads(hello.exts[i].type))
            return true;
    return false;
}

/* A name of another type than host_name. */
static bool names_something_else(void) {
    const struct raw_ext *e = raw_find(&hello, EXT_NAME);
    struct rd r = rd_of(e ? e->data : span_of(NULL, 0)), list = rd_of(rd_vec16(&r));
    while (rd_left(&list) > 0) {
        if (rd_u8(&list) != 0)
            return true;
        (void)rd_vec16(&list);
    }
    return false;
}

/* Responders or extensions in an OCSP request. */
static bool asks_ocsp_in_detail(void) {
    const struct raw_ext *e = raw_find(&hello, EXT_STATUS);
    return e && !span_eq(e->data, RAW_LIT("\1\0\0\0\0"));
}

/*
 * libssl refuses a client whose signature_algorithms_cert lacks what the leaf is signed with, where we send it all the same
 * (RFC 8446 4.4.2.2). Leaves are signed by SHA-256 here; one that is chosen for the first hello stands for the second.
 */
static bool leaf_is_signed_otherwise(void) {
    struct certs_choice choice;
    const struct certs_client client = certs_client_of(judged.sigalgs, judged.sigalgs_cert);
    if (!judged.sigalgs_cert.len || certs_choose(judged_by->certs, judged_by->service, judged.sni, &client, &choice) < 0)
        return false;
    const X509 *leaf = certs_entry_leaf(judged_by->certs, choice.entry);
    return !hello_list_has(judged.sigalgs_cert, X509_get_signature_nid(leaf) == NID_ecdsa_with_SHA256 ? 0x0403 : 0x0401);
}

/* Why the paths may differ here; NULL = they may not. */
static const char *explained(const struct outcome *ours, const struct outcome *theirs) {
    if (theirs->failed && has_only_libssls())
        return "libssl refuses an extension that we do not read (cookie, padding, ... and their syntax)";
    if (sides[LIBSSL].limited)
        return "libssl is spared long lists, of which it decodes each entry";
    if (theirs->failed && theirs->alert == ALERT_DECODE_ERROR && names_something_else())
        return "libssl refuses names of types that it does not know, we pass over them";
    if (theirs->failed && theirs->alert == ALERT_DECODE_ERROR && asks_ocsp_in_detail())
        return "libssl reads what an OCSP request asks in detail, we do not";
    if (theirs->failed && theirs->alert == ALERT_HANDSHAKE_FAILURE && (ours->flight || ours->retry) &&
        leaf_is_signed_otherwise())
        return "libssl refuses a leaf that is not signed as signature_algorithms_cert says";
    if (group_by_their_order(ours, theirs))
        return "libssl 3.0 chooses among shares by the client's order";
    return NULL;
}

static bool same(const struct outcome *a, const struct outcome *b) {
    if (a->failed || b->failed)
        return a->failed == b->failed && a->alert == b->alert;
    return a->retry == b->retry && a->flight == b->flight && a->resumed == b->resumed && a->suite == b->suite &&
           a->group == b->group && a->cert_requested == b->cert_requested && a->scheme == b->scheme &&
           span_eq(a->alpn, b->alpn) && span_eq(a->leaf, b->leaf) && a->done == b->done;
}

static void print_outcome(const char *who, const struct outcome *o) {
    fprintf(stderr,
            "%s: failed %d alert %d retry %d flight %d resumed %d request %d done %d suite %04x group %04x scheme %04x\n", who,
            o->failed, o->alert, o->retry, o->flight, o->resumed, o->cert_requested, o->done, o->suite, o->group, o->scheme);
}

static void compare(void) {
    struct outcome ours = outcome_of(&sides[OURS]), theirs = outcome_of(&sides[LIBSSL]);
    if (same(&ours, &theirs))
        return;
    counts.explained++;
    if (explained(&ours, &theirs))
        return;
    print_outcome("ours", &ours);
    print_outcome("libssl", &theirs);
    uint8_t alert;
    fprintf(stderr, "%s; %s %s\n", err_text(hs13_conn_error(&sides[OURS].own)),
            sides[LIBSSL].libssl ? err_text(handshake_error(sides[LIBSSL].libssl, &alert)) : "",
            sides[LIBSSL].libssl ? handshake_detail(sides[LIBSSL].libssl) : "");
    abort();
}

/* A valid share of a group, behind one of GREASE or not; a group that the client does not know to have one of. */
static void edit_share(uint8_t choice) {
    static const uint16_t groups[] = {0x001d, 0x0017, 0x0018, 0x0019};
    uint8_t shares[256];
    struct wr w = wr_of(shares, sizeof(shares));
    if (choice & 0x80) {
        raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
        return;
    }
    share_for_both(groups[choice & 3]);
    struct span own = raw_find(&hello, EXT_SHARE)->data;
    if (choice & 0x40 && hello.len < 32 * 1024) {
        wr_u16(&w, (uint16_t)(5 + own.len - 2));
        wr_bytes(&w, "\x0a\x0a\0\1x", 5);
        wr_bytes(&w, own.p + 2, own.len - 2);
        raw_set(&hello, EXT_SHARE, wr_written(&w));
    }
}

static bool edit(struct rd *r) {
    static const uint16_t types[] = {EXT_NAME,
                                     EXT_MFL,
                                     EXT_STATUS,
                                     EXT_GROUPS,
                                     EXT_SIGALGS,
                                     EXT_PROTOCOLS,
                                     EXT_RSL,
                                     EXT_EARLY,
                                     EXT_VERSIONS,
                                     EXT_MODES,
                                     EXT_SHARE,
                                     EXT_COMPRESS,
                                     EXT_POST_AUTH,
                                     0x0a0a,
                                     11,
                                     17,
                                     18,
                                     21,
                                     22,
                                     23,
                                     34,
                                     35,
                                     50,
                                     17613,
                                     65037,
                                     65281};
    uint8_t op = rd_u8(r) % OP_COUNT, which = 0;
    struct span s = span_of(NULL, 0);
    if (op == OP_SET || op == OP_ADD || op == OP_DROP || op == OP_SWAP || op == OP_SHARE)
        which = rd_u8(r);
    if (op != OP_DROP && op != OP_SWAP && op != OP_SHARE && op != OP_SECOND)
        s = rd_vec8(r);
    if (r->bad)
        return true;
    switch (op) {
    case OP_SET:
    case OP_ADD:
        if (hello.nexts < 64 && hello.len < 32 * 1024) {
            if (op == OP_SET)
                raw_set(&hello, types[which % ARRAY_LEN(types)], s);
            else
                raw_add(&hello, types[which % ARRAY_LEN(types)], s);
        }
        break;
    case OP_DROP:
        raw_drop(&hello, types[which % ARRAY_LEN(types)]);
        break;
    case OP_SWAP:
        if (hello.nexts > 1) {
            struct raw_ext *a = &hello.exts[which % hello.nexts], *b = &hello.exts[(which >> 4) % hello.nexts], c = *a;
            *a = *b;
            *b = c;
        }
        break;
    case OP_SUITES:
        hello.suites = s;
        break;
    case OP_SESSION_ID:
        hello.session_id = s;
        break;
    case OP_COMPRESSION:
        hello.compression = s;
        break;
    case OP_RANDOM:
        memcpy(hello.random, s.p ? s.p : hello.random, MIN(s.len, (size_t)32));
        break;
    case OP_VERSION:
        hello.version = s.len == 2 ? (uint16_t)(s.p[0] << 8 | s.p[1]) : hello.version;
        break;
    case OP_SHARE:
        edit_share(which);
        break;
    default:
        return false;
    }
    return true;
}

static void edits(struct rd *r) {
    for (unsigned i = 0; i < STEPS_MAX && rd_left(r); i++)
        if (!edit(r))
            return;
}

/* Whether both paths are asked at all: the same functions have judged it before, and chosen 1.3. */
static bool for_both(const struct tls_server *with) {
    static uint8_t bytes[2 * RAW_BYTES];
    struct wr w = wr_of(bytes, sizeof(bytes));
    struct hello h;
    raw_hello_write(&hello, &w);
    if (w.len >= RECORD_PLAIN_MAX - HS13_TICKET_MAX || hello_parse(wr_written(&w), &h) < 0)
        return false;
    judged = h;
    judged_by = with;
    return !h.has_psk && tls_server_check(with, &h) == 0 && h.versions.len && hello_list_has(h.versions, TLS_1_3);
}

static void end_both(const struct tls_server *with) {
    for (int p = 0; p < PATHS; p++) {
        struct side *s = &sides[p];
        if (!s->c.flight_done || s->failed)
            continue;
        if (s->c.cert_requested) { /* none: refused where one is needed */
            static const uint8_t empty[] = {MSG_CERTIFICATE, 0, 0, 4, 0, 0, 0, 0};
            raw_message(&s->c, span_of(empty, sizeof(empty)));
        }
        raw_finish(&s->c);
        step_side((enum path)p, with);
        raw_hear(&s->c, &s->out);
    }
}

static void run(const struct tls_server *with, uint8_t choice, struct rd *r) {
    bool ticket = choice & 4, swapped = choice & 8;
    open_sides(with);
    raw_hello_usual(&hello);
    share_for_both(0x001d);
    edits(r);
    if (!for_both(with))
        return;
    say_hello(with, ticket, swapped);
    counts.hellos++;
    compare();
    if (sides[OURS].c.retry && sides[LIBSSL].c.retry && !sides[OURS].failed && !sides[LIBSSL].failed) {
        share_for_both(sides[OURS].c.retry_group);
        edits(r);
        bool judged_alike = for_both(with); /* libssl alone reads a second hello on its path, more leniently than hello.c */
        say_hello(with, ticket, swapped);
        if (!judged_alike)
            return;
        counts.hellos++;
        counts.retries++;
        compare();
    }
    end_both(with);
    compare();
    counts.done += sides[OURS].done;
    counts.resumed += sides[OURS].c.resumed;
}

static void keep_tickets(void) {
    for (int p = 0; p < PATHS; p++) {
        struct side *s = &sides[p];
        MUST(s->done && s->c.tickets == 1);
        memcpy(s->ticket.bytes, s->c.ticket, s->ticket.len = s->c.ticket_len);
        memcpy(s->ticket.psk, s->c.ticket_psk, sizeof(s->ticket.psk));
    }
}

static void begin(void) {
    struct rd none = rd_of(span_of(NULL, 0));
    cert_compress_load();
    cases_setup(NULL);
    (void)tls_server_selftest(server);
    struct tls_policy p = case_policy("web");
    crossed_shop.certs = service_certs_crossed();
    crossed = service_new(&p, crossed_shop.certs, tickets);
    run(server, 0, &none);
    keep_tickets();
    close_sides();
    fixed_begin(); /* from here on */
    env.exchange = fixed_exchange;
    MUST(atexit(print_counts) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!server)
        begin();
    if (size == 0)
        return 0;
    counts.inputs++;
    struct rd r = rd_of(span_of(data + 1, size - 1));
    struct tls_server *const services[] = {server, lax, strict, crossed};
    run(services[data[0] & 3], data[0], &r);
    close_sides();
    return 0;
}
