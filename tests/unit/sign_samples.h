/* Bytes as TLS servers sign them. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A TLS 1.3 CertificateVerify over a transcript hash of HASH bytes (RFC 8446 4.4.3); returns the length. */
static inline size_t sample_tls13(uint8_t *to, size_t hash) {
    memset(to, ' ', 64);
    memcpy(to + 64, "TLS 1.3, server CertificateVerify", 34);
    memset(to + 98, 0xa5, hash);
    return 98 + hash;
}

/* The signed part of a TLS 1.2 ServerKeyExchange with a point of LEN bytes (RFC 8422 5.4); returns the length. */
static inline size_t sample_tls12(uint8_t *to, uint16_t group, uint8_t len) {
    memset(to, 0x5a, 64);
    to[64] = 3;
    to[65] = (uint8_t)(group >> 8);
    to[66] = (uint8_t)group;
    to[67] = len;
    memset(to + 68, 4, len);
    return (size_t)68 + len;
}
