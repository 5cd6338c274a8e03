/*
 * Arbitrary bytes as a session in the hand-over format. The first byte is the minor version. What is taken is in range. Packing
 * it again gives the same bytes, but for connection info, which is brought to the form of this build. A record layer that is
 * taken makes sense, and survives being packed again.
 */
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "tls/record_layer_pack.h"
#include "wire/event.h"
#include "wire/export.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[1024 * 1024 + 64];

static bool family_ok(const struct addr *a) {
    return a->family == AF_UNSPEC || a->family == AF_UNIX || a->family == AF_INET || a->family == AF_INET6;
}

static void check_info(const struct export_session *x) {
    const struct conn_info *f = &x->conn_info;
    static uint8_t packed[CONN_INFO_PACKED_MAX];
    struct wr w = wr_of(packed, sizeof(packed));
    MUST(family_ok(&f->client) && family_ok(&f->peer) && family_ok(&f->local));
    MUST(f->sni.len <= 255 && f->alpn.len <= 255 && f->ja4.len <= CONN_INFO_JA4_MAX);
    conn_info_pack(&w, f);
    MUST(wr_end(&w) && span_eq(wr_written(&w), x->packed_info)); /* whatever version it came in */
}

static void check_record_layer(const struct export_session *x) {
    uint8_t packed[RECORD_LAYER_PACKED_MAX];
    struct record_layer layer, same;
    if (record_layer_unpack(x->record_layer, x->minor, x->newer, &layer) < 0)
        return;
    MUST(record_layer_valid(&layer));
    MUST(record_layer_unpack(record_layer_pack(&layer, packed), EXPORT_MINOR, false, &same) == 0);
    MUST(memcmp(&layer, &same, sizeof(same)) == 0);
}

/* But for a piece of the size of connection info. */
static bool same_around_info(struct span packed, struct span blob, const struct export_session *x) {
    size_t before = 0, behind = 0, most = packed.len < blob.len ? packed.len : blob.len;
    while (before < most && packed.p[before] == blob.p[before])
        before++;
    while (behind < most - before && packed.p[packed.len - behind - 1] == blob.p[blob.len - behind - 1])
        behind++;
    return before + behind + 2 + x->packed_info.len >= packed.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct export_session x;
    if (size < 1 || size > sizeof(again) - 64)
        return 0;
    struct span blob = span_of(data + 1, size - 1);
    int err = export_unpack(blob, EXPORT_MAJOR, data[0], &x);
    MUST(err == 0 || err == ERR_FORMAT);
    if (err < 0)
        return 0;
    MUST(x.state < EXPORT_STATES && x.client_end < END_COUNT && x.backend_end < END_COUNT);
    MUST(((x.flags & EXPORT_TLS) != 0) == (x.conn_info.tls_version != 0) && x.ntried <= EXPORT_TRIED_MAX);
    check_info(&x);
    check_record_layer(&x);
    struct wr w = wr_of(again, sizeof(again));
    export_pack(&w, &x);
    MUST(wr_end(&w) && (data[0] != EXPORT_MINOR || same_around_info(wr_written(&w), blob, &x)));
    return 0;
}
