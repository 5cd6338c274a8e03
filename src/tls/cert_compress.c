/*
 * What is called of the libraries is declared here: four functions whose form has not changed in ten years, so no headers of
 * theirs are needed to build, and a machine without the libraries needs none to run. Levels are moderate: a certificate is
 * compressed once, but while it is, other clients of the process wait.
 */
#include "tls/cert_compress.h"

#include <limits.h>
#include <stdbool.h>

#include "base/dlopen.h"
#include "base/text.h"
#include "tls/hello.h"

#define ZLIB_LEVEL         9
#define BROTLI_QUALITY     5 /* from 10 on it takes ten times as long */
#define BROTLI_WINDOW_BITS 16
#define BROTLI_GENERIC     0
#define ZSTD_LEVEL         9

static struct {
    bool loaded;
    int (*zlib)(uint8_t *to, unsigned long *len, const uint8_t *in, unsigned long in_len, int level); /* compress2; 0 = done */
    int (*brotli)(int quality, int window_bits, int mode, size_t in_len, const uint8_t *in, size_t *len,
                  uint8_t *to);                                                     /* BrotliEncoderCompress; 1 = done */
    size_t (*zstd)(void *to, size_t cap, const void *in, size_t in_len, int level); /* ZSTD_compress */
    unsigned (*zstd_failed)(size_t result);                                         /* ZSTD_isError */
} lib;

static bool zlib(struct span in, uint8_t *to, size_t *len) {
    unsigned long n = *len;
    bool done = lib.zlib(to, &n, in.p, in.len, ZLIB_LEVEL) == 0;
    *len = n;
    return done;
}

static bool brotli(struct span in, uint8_t *to, size_t *len) {
    return lib.brotli(BROTLI_QUALITY, BROTLI_WINDOW_BITS, BROTLI_GENERIC, in.len, in.p, len, to) == 1;
}

static bool zstd(struct span in, uint8_t *to, size_t *len) {
    *len = lib.zstd(to, *len, in.p, in.len, ZSTD_LEVEL);
    return !lib.zstd_failed(*len);
}

/* Best first. */
static struct {
    uint16_t id;
    bool there;
    bool (*compress)(struct span in, uint8_t *to, size_t *len);
} ways[CERT_COMPRESS_WAYS] = {{2, false, brotli}, {3, false, zstd}, {1, false, zlib}};

static bool open_one(const char *name, const char *function, void *place, size_t size, struct dlopen_table *ret) {
    char line[256];
    struct text why = text_of(line, sizeof(line)); /* nobody asks: what is not there is not used */
    if (dlopen_open(name, ret, &why) < 0)
        return false;
    dlopen_find(ret, function, place, size, &why);
    return ret->ok;
}

void cert_compress_load(void) {
    struct dlopen_table l;
    char line[256];
    struct text why = text_of(line, sizeof(line));
    if (lib.loaded)
        return;
    lib.loaded = true;
    ways[0].there = open_one("libbrotlienc.so.1", "BrotliEncoderCompress", &lib.brotli, sizeof(lib.brotli), &l);
    ways[1].there = open_one("libzstd.so.1", "ZSTD_compress", &lib.zstd, sizeof(lib.zstd), &l);
    if (ways[1].there)
        dlopen_find(&l, "ZSTD_isError", &lib.zstd_failed, sizeof(lib.zstd_failed), &why);
    ways[1].there = ways[1].there && l.ok;
    ways[2].there = open_one("libz.so.1", "compress2", &lib.zlib, sizeof(lib.zlib), &l);
}

int cert_compress_choose(struct span offered) {
    for (int way = 0; way < CERT_COMPRESS_WAYS; way++)
        if (ways[way].there && hello_list_has(offered, ways[way].id))
            return way;
    return -1;
}

uint16_t cert_compress_id(int way) {
    return ways[way].id;
}

size_t cert_compress(int way, struct span in, uint8_t *to, size_t cap) {
    size_t len = cap;
    return in.len <= INT_MAX && ways[way].compress(in, to, &len) && len < in.len && len <= cap ? len : 0;
}
