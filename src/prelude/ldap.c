/*
 * See ldap.h. A unit is an LDAPMessage. StartTLS leads to TLS; a search of the root DSE is answered, since clients look there
 * for StartTLS; every other operation gets confidentialityRequired in the response that belongs to it. BER is read strictly:
 * definite lengths, low tag numbers, integers in the fewest bytes, nothing left over.
 */
#include "prelude/ldap.h"

#include "base/err.h"
#include "base/rd.h"

enum { BER_BOOLEAN = 0x01, BER_INTEGER = 0x02, BER_OCTETS = 0x04, BER_ENUM = 0x0a, BER_SEQUENCE = 0x30 };

/* protocolOp (RFC 4511, appendix B). */
enum {
    LDAP_UNBIND = 0x42,
    LDAP_ABANDON = 0x50,
    LDAP_SEARCH = 0x63,
    LDAP_SEARCH_DONE = 0x65,
    LDAP_EXTENDED = 0x77,
    LDAP_EXTENDED_RESPONSE = 0x78,
    LDAP_CONTROLS = 0xa0,
    LDAP_REQUEST_NAME = 0x80,
    LDAP_REQUEST_VALUE = 0x81,
};

/* resultCode (A.2). */
enum {
    RESULT_SUCCESS = 0,
    RESULT_PROTOCOL_ERROR = 2,
    RESULT_CRITICAL_EXTENSION = 12,
    RESULT_CONFIDENTIALITY = 13,
    RESULT_UNAVAILABLE = 52,
};

#define STARTTLS_OID "1.3.6.1.4.1.1466.20037"
#define NOTICE_OID   "1.3.6.1.4.1.1466.20036" /* of disconnection (4.4.1) */

static const struct {
    uint8_t request, response;
} operations[] = {
    {0x60, 0x61},                            /* bind */
    {LDAP_SEARCH, LDAP_SEARCH_DONE},         /* search */
    {0x66, 0x67},                            /* modify */
    {0x68, 0x69},                            /* add */
    {0x4a, 0x6b},                            /* delete */
    {0x6c, 0x6d},                            /* modify the name */
    {0x6e, 0x6f},                            /* compare */
    {LDAP_EXTENDED, LDAP_EXTENDED_RESPONSE}, /* extended */
};

/* SearchResultEntry of the root DSE: what a client may learn here. */
static const uint8_t root_dse[] = "\x64\x51\x04\x00\x30\x4d"
                                  "\x30\x1b\x04\x14supportedLDAPVersion\x31\x03\x04\x01"
                                  "3"
                                  "\x30\x2e\x04\x12supportedExtension\x31\x18\x04\x16" STARTTLS_OID;

/* The parts of one message. */
struct ldap_message {
    struct span id; /* the INTEGER's bytes */
    uint8_t op;
    struct span body;
    bool has_critical_control;
};

/* Length octets, definite and at most four; longer than needed is legal in BER, and some clients always send four. */
static size_t take_ber_length(struct rd *r) {
    uint8_t first = rd_u8(r);
    if (first < 0x80)
        return first;
    if (first < 0x81 || first > 0x84) {
        r->bad = true;
        return 0;
    }
    return (size_t)rd_uint(r, first & 0x0f);
}

/* The next element of any type. */
static struct span take_any(struct rd *r, uint8_t *ret_tag) {
    *ret_tag = rd_u8(r);
    if ((*ret_tag & 0x1f) == 0x1f)
        r->bad = true;
    return rd_bytes(r, take_ber_length(r));
}

static struct span take_element(struct rd *r, uint8_t tag) {
    uint8_t found;
    struct span value = take_any(r, &found);
    if (found != tag)
        r->bad = true;
    return r->bad ? (struct span){NULL, 0} : value;
}

/* An INTEGER or ENUMERATED of at most four bytes, not negative and in the fewest (X.690 8.3.2). */
static struct span take_natural(struct rd *r, uint8_t tag) {
    struct span v = take_element(r, tag);
    bool ok = v.len >= 1 && v.len <= 4 && v.p[0] < 0x80 && (v.len == 1 || v.p[0] != 0 || v.p[1] >= 0x80);
    if (!ok)
        r->bad = true;
    return ok ? v : (struct span){NULL, 0};
}

static bool take_boolean(struct rd *r) {
    struct span v = take_element(r, BER_BOOLEAN);
    if (v.len != 1)
        r->bad = true;
    return v.len == 1 && v.p[0] != 0;
}

static bool next_is(const struct rd *r, uint8_t tag) {
    return !r->bad && rd_left(r) && *r->p == tag;
}

/* Controls (4.1.11): none is known here, so a critical one forbids the operation. */
static bool read_controls(struct rd *r) {
    struct rd list = rd_of(take_element(r, LDAP_CONTROLS));
    bool critical = false;
    while (!r->bad && rd_left(&list)) {
        struct rd one = rd_of(take_element(&list, BER_SEQUENCE));
        (void)take_element(&one, BER_OCTETS);
        if (next_is(&one, BER_BOOLEAN))
            critical |= take_boolean(&one);
        if (next_is(&one, BER_OCTETS))
            (void)take_element(&one, BER_OCTETS);
        r->bad |= list.bad || !rd_end(&one);
    }
    return critical;
}

static bool read_message(struct span unit, struct ldap_message *ret) {
    struct rd outer = rd_of(unit);
    struct rd r = rd_of(take_element(&outer, BER_SEQUENCE));
    ret->id = take_natural(&r, BER_INTEGER);
    ret->body = take_any(&r, &ret->op);
    ret->has_critical_control = next_is(&r, LDAP_CONTROLS) && read_controls(&r);
    bool unsolicited = ret->id.len == 1 && ret->id.p[0] == 0; /* 4.1.1.1: for notices of the server's */
    return rd_end(&outer) && rd_end(&r) && !unsolicited;
}

/* All that we write is shorter than 128 bytes: one octet of length each. */
static void put_message(struct wr *w, struct span id, struct span op) {
    wr_u8(w, BER_SEQUENCE);
    wr_u8(w, (uint8_t)(2 + id.len + op.len));
    wr_u8(w, BER_INTEGER);
    wr_vec8(w, id);
    wr_span(w, op);
}

/* An LDAPResult (4.1.9); with an OID in responseName when it is not NULL. */
static void put_result(struct wr *w, struct span id, uint8_t response, uint8_t code, const char *text, const char *oid) {
    uint8_t op[128];
    struct wr o = wr_of(op, sizeof(op));
    size_t len = 3 + 2 + 2 + strlen(text) + (oid ? 2 + strlen(oid) : 0);
    wr_u8(&o, response);
    wr_u8(&o, (uint8_t)len);
    const uint8_t head[] = {BER_ENUM, 1, code, BER_OCTETS, 0, BER_OCTETS};
    wr_bytes(&o, head, sizeof(head));
    wr_vec8(&o, span_str(text));
    if (oid) {
        wr_u8(&o, 0x8a);
        wr_vec8(&o, span_str(oid));
    }
    MUST(wr_end(&o) && 2 + id.len + o.len < 128); /* our own texts */
    put_message(w, id, wr_written(&o));
}

/* Whether a SearchRequest (4.5.1) is for the root DSE alone (RFC 4512 5.1). */
static bool read_search(struct span body, bool *ret_is_root) {
    struct rd r = rd_of(body);
    uint8_t filter;
    struct span base = take_element(&r, BER_OCTETS), scope = take_natural(&r, BER_ENUM);
    (void)take_natural(&r, BER_ENUM);    /* aliases */
    (void)take_natural(&r, BER_INTEGER); /* limits of entries and time */
    (void)take_natural(&r, BER_INTEGER);
    (void)take_boolean(&r); /* types only */
    (void)take_any(&r, &filter);
    struct rd attributes = rd_of(take_element(&r, BER_SEQUENCE));
    while (!attributes.bad && rd_left(&attributes))
        (void)take_element(&attributes, BER_OCTETS);
    *ret_is_root = base.len == 0 && scope.len == 1 && scope.p[0] == 0;
    return rd_end(&r) && rd_end(&attributes) && (filter & 0xc0) == 0x80;
}

static int take_search(const struct ldap_message *m, struct wr *answer) {
    bool is_root = false;
    if (!read_search(m->body, &is_root))
        return ERR_STARTTLS_MALFORMED;
    if (!is_root) {
        put_result(answer, m->id, LDAP_SEARCH_DONE, RESULT_CONFIDENTIALITY, "StartTLS is required first", NULL);
        return PRELUDE_ANSWERED;
    }
    put_message(answer, m->id, span_of(root_dse, sizeof(root_dse) - 1));
    put_result(answer, m->id, LDAP_SEARCH_DONE, RESULT_SUCCESS, "", NULL);
    return PRELUDE_ANSWERED;
}

/* 4.14.1: StartTLS has no value. */
static int take_extended(const struct ldap_message *m, struct wr *answer) {
    struct rd r = rd_of(m->body);
    struct span name = take_element(&r, LDAP_REQUEST_NAME);
    bool has_value = next_is(&r, LDAP_REQUEST_VALUE);
    if (has_value)
        (void)take_element(&r, LDAP_REQUEST_VALUE);
    if (!rd_end(&r))
        return ERR_STARTTLS_MALFORMED;
    if (!span_eq(name, span_str(STARTTLS_OID))) {
        put_result(answer, m->id, LDAP_EXTENDED_RESPONSE, RESULT_CONFIDENTIALITY, "StartTLS is required first", NULL);
        return PRELUDE_ANSWERED;
    }
    if (has_value) {
        put_result(answer, m->id, LDAP_EXTENDED_RESPONSE, RESULT_PROTOCOL_ERROR, "StartTLS has no value", NULL);
        return PRELUDE_ANSWERED;
    }
    put_result(answer, m->id, LDAP_EXTENDED_RESPONSE, RESULT_SUCCESS, "", NULL);
    return PRELUDE_GO;
}

static enum step ldap_cut(struct span in, size_t *ret_len) {
    if (in.p[0] != BER_SEQUENCE)
        return STEP_FAILED;
    if (in.len >= 2 && (in.p[1] == 0x80 || in.p[1] > 0x84))
        return STEP_FAILED;
    struct rd r = rd_of(in);
    (void)rd_u8(&r);
    size_t len = take_ber_length(&r);
    if (r.bad)
        return STEP_WANT_READ;
    *ret_len = (size_t)(r.p - in.p) + len;
    return STEP_DONE;
}

static uint8_t response_to(uint8_t request) {
    for (size_t i = 0; i < ARRAY_LEN(operations); i++)
        if (operations[i].request == request)
            return operations[i].response;
    return 0;
}

static int ldap_take(struct prelude *p, struct span unit, struct wr *answer) {
    (void)p;
    struct ldap_message m;
    if (!read_message(unit, &m))
        return ERR_STARTTLS_MALFORMED;
    if (m.op == LDAP_UNBIND)
        return m.body.len == 0 ? ERR_STARTTLS_QUIT : ERR_STARTTLS_MALFORMED;
    if (m.op == LDAP_ABANDON) /* 4.11: never answered */
        return PRELUDE_ANSWERED;
    uint8_t response = response_to(m.op);
    if (!response)
        return ERR_STARTTLS_MALFORMED;
    if (m.has_critical_control) {
        put_result(answer, m.id, response, RESULT_CRITICAL_EXTENSION, "no control is known before TLS", NULL);
        return PRELUDE_ANSWERED;
    }
    if (m.op == LDAP_SEARCH)
        return take_search(&m, answer);
    if (m.op == LDAP_EXTENDED)
        return take_extended(&m, answer);
    put_result(answer, m.id, response, RESULT_CONFIDENTIALITY, "StartTLS is required first", NULL);
    return PRELUDE_ANSWERED;
}

/* Notice of disconnection: message ID 0. */
static void ldap_last_words(const struct prelude *p, int reason, struct wr *answer) {
    (void)p;
    static const uint8_t zero[1] = {0};
    bool their_fault = reason == ERR_STARTTLS_MALFORMED || reason == ERR_STARTTLS_INJECTION;
    put_result(answer, span_of(zero, 1), LDAP_EXTENDED_RESPONSE, their_fault ? RESULT_PROTOCOL_ERROR : RESULT_UNAVAILABLE,
               their_fault ? "not allowed before StartTLS" : "no StartTLS in time", NOTICE_OID);
}

const struct prelude_protocol prelude_ldap = {
    .name = "ldap",
    .cut = ldap_cut,
    .take = ldap_take,
    .last_words = ldap_last_words,
};
