/* Certificates, those that expire first: a part of the status, and /certificates.json for these alone. */
#include "observer/certificates.h"

#include "base/clock.h"
#include "base/text.h"
#include "observer/json.h"
#include "observer/status.h"

#define CERTIFICATES_NAMES_SHOWN 16

static void put_certificate(struct admin *a, json_t *o, uint32_t entry, int64_t now) {
    const struct creds *c = &a->stats_view.creds;
    struct creds_entry e = creds_entry(c, entry);
    struct creds_cert leaf = creds_cert(c, entry, 0);
    json_put_text(o, "service", e.service < creds_services(c) ? creds_service(c, e.service).name : NULL);
    json_t *names = json_put_array(o, "names");
    for (uint32_t i = 0; i < MIN(e.nnames, (uint32_t)CERTIFICATES_NAMES_SHOWN); i++)
        json_append_text(names, creds_name(c, entry, i));
    json_put_u64(o, "names_total", e.nnames);
    json_put_text(o, "issuer", e.issuer);
    json_put_text(o, "serial", e.serial);
    json_put_text(o, "key_type", creds_kind_name(e.kind));
    json_put_text(o, "file", e.cert_file);
    if (leaf.not_before != INT64_MIN)
        json_put_real(o, "not_before", (double)leaf.not_before);
    if (leaf.not_after != INT64_MIN) {
        json_put_real(o, "not_after", (double)leaf.not_after);
        json_put_real(o, "days_left", (double)(leaf.not_after - now) / 86400);
    }
    managed_view_put_file(&a->managed, e.cert_file, o);
    bool stapled = e.ocsp.len > 0;
    json_put_text(o, "ocsp", !stapled ? "none" : e.ocsp_until < now ? "expired" : "stapled");
    if (stapled && e.ocsp_until != CREDS_NEVER)
        json_put_real(o, "ocsp_until", (double)e.ocsp_until);
    ocsp_view_put(&a->managed.ocsp, entry, o);
}

/* A list kept in order, from whose end the latest falls. */
size_t status_expiring(const struct creds *c, uint32_t *list, size_t max) {
    size_t n = 0;
    for (uint32_t i = 0; i < creds_entries(c); i++) {
        int64_t end = creds_cert(c, i, 0).not_after;
        if (n == max && creds_cert(c, list[n - 1], 0).not_after <= end)
            continue;
        size_t at = n < max ? n++ : n - 1;
        for (; at > 0 && creds_cert(c, list[at - 1], 0).not_after > end; at--)
            list[at] = list[at - 1];
        list[at] = i;
    }
    return n;
}

void status_certificates(struct admin *a, json_t *list, size_t limit) {
    static uint32_t order[STATUS_CERTIFICATES_MAX];
    if (!a->stats_view.creds.head)
        return;
    size_t n = status_expiring(&a->stats_view.creds, order, MIN(limit, (size_t)STATUS_CERTIFICATES_MAX));
    for (size_t i = 0; i < n; i++)
        put_certificate(a, json_append_object(list), order[i], (int64_t)(clock_wall_us() / 1000000));
}

void certificates_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    const char *text = http_query(q, "limit");
    uint64_t limit = STATUS_CERTIFICATES_MAX;
    if (text && text_parse_u64(text, STATUS_CERTIFICATES_MAX, &limit) < 0) {
        http_reply_line(r, 400, "expected limit=0 to 1000");
        return;
    }
    json_t *top = json_object();
    json_put_u64(top, "total", a->stats_view.creds.head ? creds_entries(&a->stats_view.creds) : 0);
    status_certificates(a, json_put_array(top, "certificates"), (size_t)limit);
    json_reply(r, top);
}
