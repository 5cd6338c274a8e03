/* Messages with every field set to something of its own, and ways to compare them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/conn_info.h"
#include "wire/event.h"

static inline struct addr sample_inet(uint8_t last, uint16_t port) {
    return (struct addr){.family = AF_INET, .port = port, .ip = {192, 0, 2, last}};
}

static inline struct addr sample_inet6(uint8_t last, uint16_t port) {
    return (struct addr){.family = AF_INET6, .port = port, .ip = {0x20, 0x01, 0x0d, 0xb8, [15] = last}};
}

static inline struct conn_info sample_conn_info(void) {
    struct conn_info f = {
        .service = 1,
        .client = sample_inet(1, 5678),
        .peer = sample_inet6(2, 40000),
        .local = sample_inet(3, 443),
        .tls_version = 0x0304,
        .suite = 0x1301,
        .group = 29,
        .resumed = true,
        .start_wall_us = 1795370591123456,
        .start_mono_us = 77,
        .handshake_us = 12345,
        .sni = span_str("www.example.org"),
        .alpn = span_str("h2"),
        .ja4 = span_str("t13d1516h2_8daaf6152771_e5627efa2ab1"),
        .sig_scheme = 0x0403,
        .cert_sig = 5,
        .cert_key = 2,
        .cert_key_bits = 256,
        .matched_name = SERVED_WILDCARD,
        .cert_file = span_str("/etc/tls/fullchain.pem"),
        .made_by = MADE_BY_OWN,
    };
    for (size_t i = 0; i < sizeof(f.unique_id); i++)
        f.unique_id[i] = (uint8_t)(0xa0 + i);
    return f;
}

/* A verified client with every field set; the texts are static. */
static inline struct conn_info_client sample_client(void) {
    struct conn_info_client c = {
        .verified = true,
        .identity_source = IDENTITY_URI,
        .name = span_str("spiffe://example.org/ns/a/sa/robot"),
        .cn = span_str("robot"),
        .serial = span_str("\x01\xfe\x80"),
        .cert = span_str("stands for DER"),
    };
    for (size_t i = 0; i < sizeof(c.fingerprint); i++)
        c.fingerprint[i] = (uint8_t)(0x30 + i);
    return c;
}

static inline void assert_same_client(const struct conn_info_client *a, const struct conn_info_client *b) {
    assert_int_equal(a->verified, b->verified);
    assert_int_equal(a->identity_source, b->identity_source);
    assert_true(span_eq(a->name, b->name));
    assert_true(span_eq(a->cn, b->cn));
    assert_true(span_eq(a->serial, b->serial));
    assert_memory_equal(a->fingerprint, b->fingerprint, sizeof(a->fingerprint));
    assert_true(span_eq(a->cert, b->cert));
}

static inline void assert_same_addr(const struct addr *a, const struct addr *b) {
    assert_int_equal(a->family, b->family);
    assert_int_equal(a->port, b->port);
    assert_memory_equal(a->ip, b->ip, sizeof(a->ip));
}

static inline void assert_same_conn_info(const struct conn_info *a, const struct conn_info *b) {
    assert_memory_equal(a->unique_id, b->unique_id, sizeof(a->unique_id));
    assert_int_equal(a->service, b->service);
    assert_same_addr(&a->client, &b->client);
    assert_same_addr(&a->peer, &b->peer);
    assert_same_addr(&a->local, &b->local);
    assert_int_equal(a->tls_version, b->tls_version);
    assert_int_equal(a->suite, b->suite);
    assert_int_equal(a->group, b->group);
    assert_int_equal(a->resumed, b->resumed);
    assert_int_equal(a->start_wall_us, b->start_wall_us);
    assert_int_equal(a->start_mono_us, b->start_mono_us);
    assert_int_equal(a->handshake_us, b->handshake_us);
    assert_true(span_eq(a->sni, b->sni));
    assert_true(span_eq(a->alpn, b->alpn));
    assert_true(span_eq(a->ja4, b->ja4));
    assert_int_equal(a->sig_scheme, b->sig_scheme);
    assert_int_equal(a->cert_sig, b->cert_sig);
    assert_int_equal(a->cert_key, b->cert_key);
    assert_int_equal(a->cert_key_bits, b->cert_key_bits);
    assert_int_equal(a->matched_name, b->matched_name);
    assert_true(span_eq(a->cert_file, b->cert_file));
    assert_int_equal(a->made_by, b->made_by);
    assert_same_client(&a->id, &b->id);
}

static inline struct event sample_session(void) {
    return (struct event){
        .kind = EVENT_SESSION,
        .wall_us = 1795370591123456,
        .role = ROLE_RELAY,
        .index = 3,
        .level = LOG_LEVEL_INFO,
        .conn_info = sample_conn_info(),
        .service = span_str("web"),
        .backend = span_str("unix:/run/b.sock"),
        .bytes_in = 1000,
        .bytes_out = UINT64_C(5000000000),
        .relay_us = 12400,
        .duration_us = 1500001,
        .connect_us = 250,
        .first_byte_us = 1750,
        .client_end = END_CLOSE,
        .backend_end = END_RESET,
        .retries = 2,
    };
}
