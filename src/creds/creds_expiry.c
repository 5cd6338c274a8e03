#include "creds/creds_expiry.h"

#include <limits.h>
#include <time.h>

#define DAY 86400

static void add_date(struct text *t, int64_t s) {
    struct tm tm;
    time_t at = (time_t)s;
    char date[32];
    text_add(t, gmtime_r(&at, &tm) && strftime(date, sizeof(date), "%Y-%m-%d", &tm) ? date : "?");
}

bool creds_expiry_say(struct text *t, const char *file, uint32_t n, int64_t not_before, int64_t not_after, int64_t now) {
    bool readable = not_before != INT64_MIN && not_after != INT64_MIN;
    if (readable && now >= not_before && now < not_after && not_after - now >= (int64_t)CREDS_EXPIRY_DAYS * DAY)
        return false;
    text_addf(t, "%s: certificate %u of the chain ", file, n);
    if (!readable) {
        text_add(t, "has a time that cannot be read");
    } else if (now < not_before) {
        text_add(t, "is not valid before ");
        add_date(t, not_before);
    } else if (now >= not_after) {
        text_add(t, "expired on ");
        add_date(t, not_after);
    } else {
        int64_t days = (not_after - now) / DAY;
        text_add(t, "expires on ");
        add_date(t, not_after);
        text_addf(t, ", in %d day%s", (int)days, days == 1 ? "" : "s");
    }
    return true;
}

/* The same file may serve several services. */
static bool said_before(const struct creds *c, uint32_t entry) {
    const char *file = creds_entry(c, entry).cert_file;
    uint32_t service = creds_entry(c, entry).service;
    for (uint32_t s = 0; s < service; s++) {
        struct creds_service other = creds_service(c, s);
        for (uint32_t i = 0; i < other.nentries; i++)
            if (creds_entry(c, other.first_entry + i).cert_file == file) /* equal texts are kept once */
                return true;
    }
    return false;
}

void creds_expiry_warn(const struct creds *c, int64_t now, void (*line)(void *ctx, const char *text), void *ctx) {
    for (uint32_t i = 0; i < creds_entries(c); i++) {
        struct creds_entry e = creds_entry(c, i);
        for (uint32_t n = 0; n < e.nchain; n++) {
            char room[PATH_MAX + 160];
            struct text t = text_of(room, sizeof(room));
            struct creds_cert x = creds_cert(c, i, n);
            if (creds_expiry_say(&t, e.cert_file, n + 1, x.not_before, x.not_after, now) && !said_before(c, i))
                line(ctx, room);
        }
    }
}

void creds_ocsp_warn(const struct creds *c, int64_t before, int64_t now, void (*line)(void *ctx, const char *text), void *ctx) {
    for (uint32_t i = 0; i < creds_entries(c); i++) {
        char room[PATH_MAX + 160];
        struct text t = text_of(room, sizeof(room));
        struct creds_entry e = creds_entry(c, i);
        if (e.ocsp.len == 0 || e.ocsp_until <= before || e.ocsp_until > now || said_before(c, i))
            continue;
        text_addf(&t, "%s: the OCSP response for it has ended; it is not stapled any more", e.cert_file);
        line(ctx, room);
    }
}
