/* Every length in a ClientHello, one by one, is a little off, 0 and as large as it can be (E1): the hello is refused. */
#include "tls/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_raw.h"

#define PLACES_MAX 64

static uint8_t message[4096];
static size_t message_len;

/* Where lengths stand in the message, and how many bytes each has. */
static struct place {
    size_t at;
    unsigned width;
    const char *of;
} places[PLACES_MAX];
static size_t nplaces;

static struct rd inside(struct rd *r, unsigned width, const char *of) {
    MUST(nplaces < PLACES_MAX);
    places[nplaces++] = (struct place){(size_t)(r->p - message), width, of};
    return rd_of(width == 1 ? rd_vec8(r) : width == 2 ? rd_vec16(r) : rd_vec24(r));
}

/* Elements of a list: HEAD bytes, a vector whose length has WIDTH bytes, TAIL bytes. */
static void walk_list(struct rd list, size_t head, unsigned width, size_t tail, const char *of) {
    while (rd_left(&list)) {
        (void)rd_bytes(&list, head);
        (void)inside(&list, width, of);
        (void)rd_bytes(&list, tail);
    }
}

static void walk_extension(uint16_t type, struct rd e) {
    switch (type) {
    case EXT_NAME:
        walk_list(inside(&e, 2, "list of names"), 1, 2, 0, "name");
        break;
    case EXT_PROTOCOLS:
        walk_list(inside(&e, 2, "list of protocols"), 0, 1, 0, "protocol");
        break;
    case EXT_SHARE:
        walk_list(inside(&e, 2, "key shares"), 2, 2, 0, "key share");
        break;
    case EXT_PSK:
        walk_list(inside(&e, 2, "identities"), 0, 2, 4, "identity");
        walk_list(inside(&e, 2, "binders"), 0, 1, 0, "binder");
        break;
    case EXT_STATUS:
        (void)rd_u8(&e);
        (void)inside(&e, 2, "responders");
        (void)inside(&e, 2, "request extensions");
        break;
    case EXT_GROUPS:
    case EXT_SIGALGS:
    case EXT_SIGALGS_CERT:
        (void)inside(&e, 2, "groups or schemes");
        break;
    case EXT_VERSIONS:
    case EXT_MODES:
    case EXT_COMPRESS:
        (void)inside(&e, 1, "versions, modes or compressions");
        break;
    default:
        break;
    }
}

static void walk(void) {
    struct rd r = rd_of(span_of(message, message_len));
    nplaces = 0;
    (void)rd_u8(&r);
    struct rd body = inside(&r, 3, "message");
    (void)rd_bytes(&body, 34);
    (void)inside(&body, 1, "session ID");
    (void)inside(&body, 2, "suites");
    (void)inside(&body, 1, "compression methods");
    struct rd exts = inside(&body, 2, "extensions");
    while (rd_left(&exts)) {
        uint16_t type = rd_u16(&exts);
        walk_extension(type, inside(&exts, 2, "extension"));
    }
    MUST(!exts.bad && rd_end(&body) && rd_end(&r));
}

/* A hello with all that is read, and something that is not. */
static int make_message(void **state) {
    (void)state;
    static struct raw_hello hello;
    static const uint8_t psk[] = "\0\x17\0\x05i-one\0\0\0\1\0\6i--two\0\0\0\2"
                                 "\0\x42\x20................................\x20................................";
    struct wr w = wr_of(message, sizeof(message));
    raw_hello_usual(&hello);
    raw_add(&hello, EXT_STATUS, RAW_LIT("\1\0\0\0\0"));
    raw_add(&hello, EXT_PROTOCOLS, RAW_LIT("\0\x0c\x08http/1.1\2h2"));
    raw_add(&hello, EXT_COMPRESS, RAW_LIT("\4\0\1\0\2"));
    raw_add(&hello, EXT_RSL, RAW_LIT("\x40\1"));
    raw_add(&hello, EXT_MFL, RAW_LIT("\1"));
    raw_add(&hello, EXT_EARLY, span_of(NULL, 0));
    raw_add(&hello, EXT_POST_AUTH, span_of(NULL, 0));
    raw_add(&hello, EXT_SIGALGS_CERT, RAW_LIT("\0\4\4\1\4\3"));
    raw_add(&hello, EXT_SHARE, RAW_LIT("\0\x0c\0\x1d\0\2xy\0\x17\0\2xy"));
    raw_add(&hello, 0x1234, RAW_LIT("unknown"));
    raw_add(&hello, EXT_PSK, span_of(psk, sizeof(psk) - 1));
    raw_hello_write(&hello, &w);
    message_len = w.len;
    walk();
    return 0;
}

static uint32_t length_at(const struct place *p) {
    uint32_t v = 0;
    for (unsigned i = 0; i < p->width; i++)
        v = v << 8 | message[p->at + i];
    return v;
}

/* What becomes of the message when the length at P is V. */
static int parse_with(const struct place *p, uint32_t v) {
    uint8_t changed[sizeof(message)];
    struct hello h;
    memcpy(changed, message, message_len);
    for (unsigned i = 0; i < p->width; i++)
        changed[p->at + i] = (uint8_t)(v >> 8 * (p->width - 1 - i));
    return hello_parse(span_of(changed, message_len), &h);
}

static void the_message_itself_is_good(void **state) {
    (void)state;
    struct hello h;
    assert_int_equal(hello_parse(span_of(message, message_len), &h), 0);
    assert_int_equal(hello_judge_1_3(&h), 0);
    assert_true(nplaces > 40);
}

/* Nearly always decode_error; where what follows is read as something else, it may be another rule that is broken first. */
static void no_length_may_be_another(void **state) {
    (void)state;
    unsigned malformed = 0, others = 0;
    for (size_t i = 0; i < nplaces; i++) {
        const struct place *p = &places[i];
        uint32_t is = length_at(p), most = (1u << 8 * p->width) - 1;
        const uint32_t wrong[] = {is - 1, is + 1, is + 2, 0, most, most - 1, is ^ 0x80};
        for (size_t k = 0; k < ARRAY_LEN(wrong); k++) {
            if (wrong[k] == is || wrong[k] > most)
                continue;
            int err = parse_with(p, wrong[k]);
            if (err != ERR_HELLO_MALFORMED && err != ERR_RECORD_ILLEGAL)
                fail_msg("%s at %zu: %u instead of %u: %s", p->of, p->at, wrong[k], is, err ? err_name(err) : "taken");
            malformed += err == ERR_HELLO_MALFORMED;
            others += err == ERR_RECORD_ILLEGAL;
        }
    }
    assert_true(malformed > 10 * others);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_message_itself_is_good),
        cmocka_unit_test(no_length_may_be_another),
    };
    return cmocka_run_group_tests(tests, make_message, NULL);
}
