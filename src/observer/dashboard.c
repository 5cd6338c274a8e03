#include "observer/dashboard.h"

#include <string.h>
#include <strings.h>

#include "observer/assets.h"

/* Nothing from elsewhere, nothing inline, in nobody's frame. Styles that the script sets on elements are no inline styles. */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/* ---- headers of the request ---- */

static struct span cut_item(const char **list, char at) {
    const char *p = *list + strspn(*list, " \t");
    size_t n = strcspn(p, (const char[]){at, 0});
    *list = p[n] ? p + n + 1 : p + n;
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    return span_of(p, n);
}

static bool is(struct span s, const char *word) {
    return s.len == strlen(word) && strncasecmp((const char *)s.p, word, s.len) == 0;
}

/* "q=0", "q=0.000" and the like. */
static bool is_nothing(struct span q) {
    const char *p = (const char *)q.p;
    if (q.len < 3 || (p[0] != 'q' && p[0] != 'Q') || p[1] != '=' || p[2] != '0')
        return false;
    for (size_t i = 3; i < q.len; i++)
        if (p[i] != (i == 3 ? '.' : '0'))
            return false;
    return true;
}

bool dashboard_takes_gzip(const char *accept) {
    bool any = false;
    while (accept && *accept) {
        struct span item = cut_item(&accept, ',');
        size_t n = 0;
        while (n < item.len && item.p[n] != ';' && item.p[n] != ' ' && item.p[n] != '\t')
            n++;
        struct span name = span_of(item.p, n), rest = span_of(item.p + n, item.len - n);
        while (rest.len > 0 && (rest.p[0] == ';' || rest.p[0] == ' ' || rest.p[0] == '\t'))
            rest = span_of(rest.p + 1, rest.len - 1);
        if (is(name, "gzip") || is(name, "x-gzip"))
            return !is_nothing(rest);
        any = any || (is(name, "*") && !is_nothing(rest));
    }
    return any;
}

bool dashboard_tag_matches(const char *header, const char *tag) {
    while (header && *header) {
        struct span item = cut_item(&header, ',');
        if (item.len > 2 && memcmp(item.p, "W/", 2) == 0)
            item = span_of(item.p + 2, item.len - 2);
        if (is(item, "*") || (item.len == strlen(tag) && memcmp(item.p, tag, item.len) == 0))
            return true;
    }
    return false;
}

/* ---- the answer ---- */

static const struct asset *find_asset(const char *path) {
    if (strcmp(path, "/") == 0)
        path = "/index.html";
    for (size_t i = 0; i < assets_count; i++)
        if (strcmp(assets[i].path, path) == 0)
            return &assets[i];
    return NULL;
}

/* An answer without a header that it should have is better not given. */
static bool set_header(struct MHD_Response *response, const char *name, const char *value) {
    return mhd.add_response_header(response, name, value) == MHD_YES;
}

static bool add_asset_headers(struct MHD_Response *response, const struct asset *a, bool packed) {
    http_add_headers(response);
    /* Kept, but asked about each time: after an upgrade the page must be the new program's. */
    return set_header(response, "Cache-Control", "no-cache") && set_header(response, "ETag", a->etag) &&
           set_header(response, "Vary", "Accept-Encoding") && set_header(response, "Content-Type", a->type) &&
           set_header(response, "Content-Security-Policy", policy) &&
           (!packed || set_header(response, "Content-Encoding", "gzip"));
}

void dashboard_answer(struct admin *admin, const struct http_request *q, struct http_reply *r) {
    (void)admin;
    const struct asset *a = find_asset(q->path);
    if (!a) {
        http_reply_line(r, 404, "there is nothing here");
        return;
    }
    bool known = dashboard_tag_matches(http_header(q, "If-None-Match"), a->etag);
    bool packed = !known && dashboard_takes_gzip(http_header(q, "Accept-Encoding"));
    struct asset_bytes bytes = known ? (struct asset_bytes){NULL, 0} : packed ? a->packed : a->plain;
    struct MHD_Response *response =
        mhd.create_response_from_buffer(bytes.len, (void *)(uintptr_t)bytes.p, MHD_RESPMEM_PERSISTENT);
    if (response && add_asset_headers(response, a, packed))
        r->queued = mhd.queue_response(q->connection, known ? 304 : 200, response) == MHD_YES;
    if (response)
        mhd.destroy_response(response); /* our reference; the connection has its own */
    if (!r->queued)
        http_reply_line(r, 500, "out of memory");
}
