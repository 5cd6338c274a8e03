#include "exporter/otlp_answer.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"

#define OTLP_ANSWER_WORDS_MAX 120 /* bytes of the collector's */

static void add_json_words(struct text *t, const json_t *words) {
    if (json_string_length(words) == 0)
        return;
    text_add(t, t->len ? ": " : "");
    escape_clean(t, span_of(json_string_value(words), MIN(json_string_length(words), (size_t)OTLP_ANSWER_WORDS_MAX)));
}

/* A number, or the same as a string, as Protobuf's JSON has 64 bits. */
static uint32_t rejected_count(const json_t *n, uint32_t most) {
    uint64_t v = 0;
    if (json_is_integer(n))
        v = (uint64_t)MAX(json_integer_value(n), 0);
    else if (json_is_string(n) && text_parse_u64(json_string_value(n), UINT64_MAX, &v) < 0)
        v = 0;
    return (uint32_t)MIN(v, (uint64_t)most);
}

/* Of status 200. An empty body says as much as an empty object. */
static enum otlp_verdict read_taken(struct span body, uint32_t spans, uint32_t *ret_refused, struct text *why) {
    json_t *top = body.len ? json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, NULL) : json_object();
    const json_t *partial = json_object_get(top, "partialSuccess");
    enum otlp_verdict verdict = json_is_object(top) ? OTLP_TAKEN : OTLP_REFUSED;
    *ret_refused = verdict == OTLP_TAKEN ? rejected_count(json_object_get(partial, "rejectedSpans"), spans) : spans;
    if (verdict == OTLP_REFUSED)
        text_add(why, "its answer is not one of OTLP: is \"endpoint\" right?");
    else if (*ret_refused)
        text_addf(why, "%u of %u spans refused", *ret_refused, spans);
    if (verdict == OTLP_TAKEN)
        add_json_words(why, json_object_get(partial, "errorMessage"));
    json_decref(top);
    return verdict;
}

enum otlp_verdict otlp_answer_read(const struct http_out_answer *a, uint32_t spans, uint32_t *ret_refused, struct text *why) {
    *ret_refused = spans;
    if (a->failed) {
        escape_clean(why, span_str(a->failed));
        return a->too_long ? OTLP_REFUSED : OTLP_LATER;
    }
    if (a->status / 100 == 2)
        return read_taken(a->body, spans, ret_refused, why);
    json_t *top = json_loadb((const char *)a->body.p, a->body.len, JSON_REJECT_DUPLICATES, NULL);
    text_addf(why, "status %u%s", a->status, a->status / 100 == 3 ? " (redirects are not followed)" : "");
    add_json_words(why, json_object_get(top, "message")); /* google.rpc.Status */
    json_decref(top);
    return a->status == 429 || (a->status >= 502 && a->status <= 504) ? OTLP_LATER : OTLP_REFUSED;
}
