#include "observer/summary_seal.h"

#include "base/err.h"

_Static_assert(SUMMARY_SEALED_MAX == SUMMARY_MAX + SUMMARY_SEALED_AT + SEAL_MORE, "as in wire/summary.h");

int summary_seal_init(struct summary_seal *s, const struct conf_store *conf, struct text *why) {
    struct text name = text_of(s->name, sizeof(s->name));
    text_addf(&name, "clients/%s", conf->cluster);
    buf_init(&s->out, SUMMARY_SEALED_MAX);
    return seal_init(&s->seal, SEAL_SUMMARIES, conf->key_file, why);
}

void summary_seal_fini(struct summary_seal *s) {
    seal_fini(&s->seal);
    buf_fini(&s->out);
}

struct span summary_seal_close(struct summary_seal *s, uint64_t instance, struct span summary) {
    size_t len = 0;
    buf_consume(&s->out, buf_len(&s->out));
    uint8_t *p = buf_reserve(&s->out, SUMMARY_SEALED_MAX);
    if (!p)
        return span_of(NULL, 0);
    struct wr w = wr_of(p, SUMMARY_SEALED_AT);
    wr_u64(&w, instance);
    if (seal_close(&s->seal, s->name, instance, summary, p + w.len, SUMMARY_SEALED_MAX - w.len, &len) < 0)
        return span_of(NULL, 0);
    return span_of(p, w.len + len);
}

int summary_seal_open(const struct summary_seal *s, struct span sealed, uint8_t to[static SUMMARY_MAX], struct span *ret) {
    struct rd r = rd_of(sealed);
    uint64_t instance = rd_u64(&r);
    size_t len = 0;
    int err = seal_open(&s->seal, s->name, instance, rd_bytes(&r, rd_left(&r)), to, SUMMARY_MAX, &len);
    *ret = span_of(to, len);
    return err;
}
