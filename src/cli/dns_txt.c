#include "cli/dns_txt.h"

#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <string.h>

#include "base/rd.h"
#include "base/text.h"

#define ANSWER_MAX 65535
#define TYPE_TXT   16
#define CLASS_IN   1
#define POINTER    0xc0 /* RFC 1035 4.1.4: the rest of the name is elsewhere */

static void skip_name(struct rd *r) {
    uint8_t len;
    do {
        len = rd_u8(r);
        if ((len & POINTER) == POINTER) {
            (void)rd_u8(r);
            return;
        }
        (void)rd_bytes(r, len);
    } while (len && !r->bad);
}

/* The strings of one record, which belong together. */
static bool take_strings(struct span data, dns_txt_fn fn, void *ctx) {
    static uint8_t text[DNS_TXT_MAX];
    struct rd r = rd_of(data);
    size_t len = 0;
    while (rd_left(&r) > 0 && !r.bad) {
        struct span s = rd_vec8(&r);
        size_t n = MIN(s.len, sizeof(text) - len);
        if (n)
            memcpy(text + len, s.p, n);
        len += n;
    }
    if (!r.bad)
        fn(ctx, span_of(text, len));
    return !r.bad;
}

bool dns_txt_read(struct span answer, dns_txt_fn fn, void *ctx) {
    struct rd r = rd_of(answer);
    (void)rd_bytes(&r, 4); /* identifier, flags */
    unsigned questions = rd_u16(&r), answers = rd_u16(&r);
    (void)rd_bytes(&r, 4); /* authority, additional */
    for (; questions > 0 && !r.bad; questions--) {
        skip_name(&r);
        (void)rd_bytes(&r, 4);
    }
    bool ok = true;
    for (; answers > 0 && !r.bad && ok; answers--) {
        skip_name(&r);
        unsigned type = rd_u16(&r), class = rd_u16(&r);
        (void)rd_u32(&r);
        struct span data = rd_vec16(&r);
        if (!r.bad && type == TYPE_TXT && class == CLASS_IN) /* others lead to it, like a CNAME */
            ok = take_strings(data, fn, ctx);
    }
    return ok && !r.bad;
}

bool dns_txt_ask(const char *name, dns_txt_fn fn, void *ctx, struct text *why) {
    static uint8_t answer[ANSWER_MAX];
    int n = res_query(name, CLASS_IN, TYPE_TXT, answer, sizeof(answer));
    if (n < 0 && (h_errno == HOST_NOT_FOUND || h_errno == NO_DATA))
        return true;
    if (n < 0)
        text_addf(why, "the name servers of this machine do not answer for %s: %s", name, hstrerror(h_errno));
    else if (!dns_txt_read(span_of(answer, MIN((size_t)n, sizeof(answer))), fn, ctx))
        text_addf(why, "the name servers' answer for %s is malformed", name);
    else
        return true;
    return false;
}
