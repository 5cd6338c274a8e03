#include "observer/json.h"

#include <string.h>

#include "base/escape.h"
#include "base/text.h"
#include "observer/http.h"

#define TEXT_MAX 4096

void json_put_u64(json_t *object, const char *name, uint64_t v) {
    (void)json_object_set_new_nocheck(object, name, json_integer((json_int_t)(v <= INT64_MAX ? v : INT64_MAX)));
}

void json_put_real(json_t *object, const char *name, double v) {
    (void)json_object_set_new_nocheck(object, name, json_real(v));
}

void json_put_bool(json_t *object, const char *name, bool v) {
    (void)json_object_set_new_nocheck(object, name, json_boolean(v));
}

json_t *json_text(struct span text) {
    char clean[TEXT_MAX];
    struct text t = text_of(clean, sizeof(clean));
    escape_clean(&t, text);
    return json_stringn_nocheck(t.p, t.len);
}

void json_append_text(json_t *array, const char *text) {
    (void)json_array_append_new(array, json_text(span_str(text)));
}

void json_put_text(json_t *object, const char *name, const char *text) {
    (void)json_object_set_new_nocheck(object, name, text ? json_text(span_str(text)) : json_null());
}

void json_put_lines(json_t *object, const char *name, const char *text) {
    char clean[TEXT_MAX];
    struct text t = text_of(clean, sizeof(clean));
    for (size_t n; *text; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        text_add(&t, t.len > 0 ? "\n" : "");
        escape_clean(&t, span_of(text, n));
    }
    (void)json_object_set_new_nocheck(object, name, json_stringn_nocheck(t.p, t.len));
}

json_t *json_put_object(json_t *object, const char *name) {
    json_t *member = json_object();
    return json_object_set_new_nocheck(object, name, member) == 0 ? member : NULL;
}

json_t *json_put_array(json_t *object, const char *name) {
    json_t *member = json_array();
    return json_object_set_new_nocheck(object, name, member) == 0 ? member : NULL;
}

json_t *json_append_object(json_t *array) {
    json_t *member = json_object();
    return json_array_append_new(array, member) == 0 ? member : NULL;
}

void json_put_time(json_t *object, const char *name, int64_t s) {
    if (s > 0)
        json_put_real(object, name, (double)s);
}

static int append_piece(const char *text, size_t len, void *ctx) {
    return buf_append(ctx, text, len) == 0 ? 0 : -1;
}

bool json_write(struct buf *to, const json_t *tree, unsigned digits) {
    return tree && json_dump_callback(tree, append_piece, to, JSON_COMPACT | JSON_REAL_PRECISION(digits)) == 0;
}

void json_put_rates(json_t *o, const char *name, const double rates[static RATES_SPANS]) {
    static const char *const spans[RATES_SPANS] = {"1s", "10s", "60s"};
    json_t *member = json_put_object(o, name);
    for (unsigned i = 0; i < RATES_SPANS; i++)
        json_put_real(member, spans[i], rates[i]);
}

void json_reply(struct http_reply *r, json_t *tree) {
    r->type = "application/json";
    if (!json_write(&r->body, tree, JSON_DIGITS) || buf_append(&r->body, "\n", 1) < 0)
        http_reply_line(r, 500, "out of memory");
    json_decref(tree);
}
