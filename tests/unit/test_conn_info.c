#include "wire_samples.h"

static uint8_t memory[CONN_INFO_PACKED_MAX];

static struct span packed(const struct conn_info *f) {
    struct wr w = wr_of(memory, sizeof(memory));
    conn_info_pack(&w, f);
    assert_true(wr_end(&w));
    return wr_written(&w);
}

static bool unpacks(struct span s, struct conn_info *ret) {
    struct rd r = rd_of(s);
    conn_info_unpack(&r, ret);
    return rd_end(&r);
}

/* Packs F, changes the byte at OFF, and returns whether the result is still accepted. */
static bool taken_with_byte(const struct conn_info *f, size_t off, uint8_t value) {
    struct conn_info out;
    struct span s = packed(f);
    assert_true(off < s.len);
    memory[off] = value;
    return unpacks(s, &out);
}

static void every_field_survives(void **state) {
    struct conn_info f = sample_conn_info(), out;
    assert_true(unpacks(packed(&f), &out));
    assert_same_conn_info(&f, &out);
}

static void a_process_survives(void **state) {
    struct conn_info f = sample_conn_info(), out;
    f.client = addr_of_process(1000, 100, 4711);
    f.local = (struct addr){.family = AF_UNSPEC};
    assert_true(unpacks(packed(&f), &out));
    assert_same_conn_info(&f, &out);
    size_t len = packed(&f).len;
    assert_false(unpacks(span_of(memory, CONN_INFO_UNIQUE_ID_LEN + 2 + 12), &out)); /* cut within it */
    assert_false(unpacks(span_of(memory, len - 2), &out));
}

static void a_verified_client_survives(void **state) {
    struct conn_info f = sample_conn_info(), out;
    f.id = sample_client();
    assert_true(unpacks(packed(&f), &out));
    assert_same_conn_info(&f, &out);
    f.id.identity_source = IDENTITY_NOTHING; /* a certificate without any name */
    f.id.name = f.id.cn = f.id.serial = f.id.cert = span_of(NULL, 0);
    assert_true(unpacks(packed(&f), &out));
    assert_same_conn_info(&f, &out);
}

static bool packs(const struct conn_info *f) {
    struct wr w = wr_of(memory, sizeof(memory));
    conn_info_pack(&w, f);
    return wr_end(&w);
}

static void what_is_said_of_a_client_has_bounds(void **state) {
    static const uint8_t bytes[CONN_INFO_CERT_MAX + 1];
    struct conn_info f = sample_conn_info(), out;
    f.client = f.local = f.peer = sample_inet6(9, 1);
    f.id = sample_client();
    f.sni = f.alpn = f.id.cn = span_of(bytes, 255);
    f.id.name = span_of(bytes, CONN_INFO_NAME_MAX);
    f.id.serial = span_of(bytes, CONN_INFO_SERIAL_MAX);
    f.id.cert = span_of(NULL, 0);
    assert_true(packed(&f).len <= CONN_INFO_LEAN_MAX);
    f.id.cert = span_of(bytes, CONN_INFO_CERT_MAX);
    assert_true(unpacks(packed(&f), &out));
    assert_same_conn_info(&f, &out);

    struct conn_info g = f;
    g.id.name.len++;
    assert_false(packs(&g));
    g = f;
    g.id.serial.len++;
    assert_false(packs(&g));
    g = f;
    g.id.cn.len++;
    assert_false(packs(&g));
    g = f;
    g.id.cert.len++;
    assert_false(packs(&g));
}

static void what_makes_no_sense_of_a_client_is_refused(void **state) {
    struct conn_info f = {.id = sample_client()}, out;
    size_t at = packed(&(struct conn_info){0}).len - 4; /* whether there is one; then by what it is named, and the name */
    assert_true(taken_with_byte(&f, at, 1));
    assert_false(taken_with_byte(&f, at, 2));
    assert_true(taken_with_byte(&f, at + 1, IDENTITY_SPKI));
    assert_false(taken_with_byte(&f, at + 1, IDENTITY_NOTHING)); /* but there is a name */
    assert_false(taken_with_byte(&f, at + 1, IDENTITY_COUNT));
    f.id.name = span_of(NULL, 0);
    assert_false(unpacks(packed(&f), &out)); /* named by something, but there is no name */
}

static void nothing_known_survives(void **state) {
    struct conn_info f = {0}, out;
    assert_true(unpacks(packed(&f), &out));
    assert_same_conn_info(&f, &out);
    assert_int_equal(out.peer.family, AF_UNSPEC);
}

static void longest_texts_fit(void **state) {
    uint8_t text[255];
    memset(text, 0xff, sizeof(text));
    struct conn_info f = sample_conn_info(), out;
    f.client = f.local = sample_inet6(9, 1);
    f.sni = f.alpn = span_of(text, sizeof(text));
    assert_true(unpacks(packed(&f), &out));
    assert_same_conn_info(&f, &out);
}

static void too_long_texts_are_refused(void **state) {
    uint8_t text[256] = {0};
    struct conn_info f = sample_conn_info();
    f.sni = span_of(text, 256);
    struct wr w = wr_of(memory, sizeof(memory));
    conn_info_pack(&w, &f);
    assert_false(wr_end(&w));

    f = sample_conn_info();
    f.ja4 = span_of(text, CONN_INFO_JA4_MAX + 1);
    w = wr_of(memory, sizeof(memory));
    conn_info_pack(&w, &f);
    assert_false(wr_end(&w));
}

/* Where the forms of older builds end: behind JA4, the verified client, the certificate's file. The last is today's. */
static void older_forms_are_read_and_every_other_cut_is_refused(void **state) {
    struct conn_info f = sample_conn_info(), out;
    f.id = sample_client();
    struct span s = packed(&f);
    size_t served = s.len - 1 - (1 + 1 + f.cert_file.len);
    size_t client = 1 + 1 + 2 + f.id.name.len + 1 + f.id.cn.len + 1 + f.id.serial.len + 32 + 2 + f.id.cert.len;
    const size_t ends[] = {served - client - 6, served, s.len - 1, s.len};
    size_t form = 0;
    for (size_t n = 0; n <= s.len; n++) {
        assert_int_equal(unpacks(span_of(s.p, n), &out), n == ends[form]);
        if (n != ends[form])
            continue;
        struct conn_info known = f;
        if (form < 3)
            known.made_by = MADE_BY_UNKNOWN;
        if (form < 2) {
            known.matched_name = SERVED_NO_NAME;
            known.cert_file = span_of(NULL, 0);
        }
        if (form < 1) {
            known.sig_scheme = known.cert_key_bits = 0;
            known.cert_sig = known.cert_key = 0;
            known.id = (struct conn_info_client){0};
        }
        assert_same_conn_info(&known, &out);
        form++;
    }
    assert_int_equal(form, 4);
}

static void what_a_later_build_has_behind_is_left_over(void **state) {
    struct conn_info f = sample_conn_info(), out;
    size_t len = packed(&f).len;
    memset(memory + len, 0xee, 7);
    struct rd r = rd_of(span_of(memory, len + 7));
    conn_info_unpack(&r, &out);
    assert_false(r.bad);
    assert_int_equal(rd_left(&r), 7);
    assert_same_conn_info(&f, &out);
}

static void unknown_family_is_refused(void **state) {
    struct conn_info f = sample_conn_info();
    assert_true(taken_with_byte(&f, 18, 4));
    for (unsigned family = 0; family < 256; family++)
        if (family != 0 && family != 4 && family != 6)
            assert_false(taken_with_byte(&f, 18, (uint8_t)family));
}

static void unknown_tls_version_is_refused(void **state) {
    struct conn_info f = {0}, out;
    const uint16_t bad[] = {1, 0x0300, 0x0301, 0x0302, 0x0305, 0x0403, 0xffff};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f.tls_version = bad[i];
        assert_false(unpacks(packed(&f), &out));
    }
    f.tls_version = 0x0303;
    assert_true(unpacks(packed(&f), &out));
}

static void resumed_is_no_or_yes(void **state) {
    struct conn_info f = {0};
    size_t at = 16 + 2 + 3 + 6;
    assert_true(taken_with_byte(&f, at, 0));
    assert_true(taken_with_byte(&f, at, 1));
    assert_false(taken_with_byte(&f, at, 2));
}

static void a_maker_of_a_later_build_is_not_known(void **state) {
    struct conn_info f = sample_conn_info();
    size_t at = packed(&f).len - 1;
    for (unsigned maker = 0; maker < 256; maker++)
        assert_true(taken_with_byte(&f, at, (uint8_t)maker));
    assert_string_equal(handshake_maker_text(MADE_BY_UNKNOWN), "");
    assert_string_equal(handshake_maker_text(MADE_BY_LIBSSL), "libssl");
    assert_string_equal(handshake_maker_text(MADE_BY_OWN), "own");
    assert_string_equal(handshake_maker_text(MADE_BY_COUNT), "");
}

static void long_ja4_is_refused(void **state) {
    uint8_t text[CONN_INFO_JA4_MAX] = {0};
    struct conn_info f = {.ja4 = span_of(text, sizeof(text))}, out;
    struct span s = packed(&f);
    size_t at = s.len - sizeof(text) - 1 - 10; /* algorithms, the client, what it was served and by whom follow */
    assert_int_equal(memory[at], CONN_INFO_JA4_MAX);
    memory[at]++;
    assert_false(unpacks(span_of(s.p, s.len + 1), &out));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives),
        cmocka_unit_test(a_process_survives),
        cmocka_unit_test(a_verified_client_survives),
        cmocka_unit_test(what_is_said_of_a_client_has_bounds),
        cmocka_unit_test(what_makes_no_sense_of_a_client_is_refused),
        cmocka_unit_test(nothing_known_survives),
        cmocka_unit_test(longest_texts_fit),
        cmocka_unit_test(too_long_texts_are_refused),
        cmocka_unit_test(older_forms_are_read_and_every_other_cut_is_refused),
        cmocka_unit_test(what_a_later_build_has_behind_is_left_over),
        cmocka_unit_test(unknown_family_is_refused),
        cmocka_unit_test(unknown_tls_version_is_refused),
        cmocka_unit_test(resumed_is_no_or_yes),
        cmocka_unit_test(a_maker_of_a_later_build_is_not_known),
        cmocka_unit_test(long_ja4_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
