/* The other side of tls/cert_compress.h: what a client makes of a CompressedCertificate (RFC 8879). */
#pragma once

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/rd.h"
#include "make_cert.h"

static inline void *decoder_find(const char *library, const char *function) {
    void *l = dlopen(library, RTLD_NOW);
    void *f = l ? dlsym(l, function) : NULL;
    make_must(f != NULL, function);
    return f;
}

/* Fills TO (exactly LEN bytes). */
static inline bool decode_by(uint16_t id, struct span in, uint8_t *to, size_t len) {
    unsigned long n = len;
    size_t size = len;
    int (*zlib)(uint8_t *, unsigned long *, const uint8_t *, unsigned long);
    int (*brotli)(size_t, const uint8_t *, size_t *, uint8_t *);
    size_t (*zstd)(void *, size_t, const void *, size_t);
    switch (id) {
    case 1:
        *(void **)&zlib = decoder_find("libz.so.1", "uncompress");
        return zlib(to, &n, in.p, in.len) == 0 && n == len;
    case 2:
        *(void **)&brotli = decoder_find("libbrotlidec.so.1", "BrotliDecoderDecompress");
        return brotli(in.len, in.p, &size, to) == 1 && size == len;
    case 3:
        *(void **)&zstd = decoder_find("libzstd.so.1", "ZSTD_decompress");
        return zstd(to, len, in.p, in.len) == len;
    default:
        return false;
    }
}

/* The Certificate message's body out of BODY, which is of a CompressedCertificate; from malloc(). */
static inline struct span cert_decompress(struct span body, uint16_t *ret_id) {
    struct rd r = rd_of(body);
    *ret_id = rd_u16(&r);
    size_t len = rd_u24(&r);
    struct span packed = rd_vec24(&r);
    uint8_t *to = malloc(len + 1);
    make_must(to && rd_end(&r) && len > 0 && decode_by(*ret_id, packed, to, len), "compressed certificate");
    return span_of(to, len);
}
