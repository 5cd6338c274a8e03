/*
 * Arbitrary bytes as an event in a ring, formatted in every way. Whatever was in it, a line stays one line of printable
 * characters and is never cut, and in JSON the quotes stay in pairs. As a span it is JSON that a parser takes.
 */
#include <stdint.h>
#include <string.h>

#include <jansson.h>

#include "base/defs.h"
#include "base/err.h"
#include "exporter/otlp_span.h"
#include "observer/fields.h"
#include "observer/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char line[FORMAT_LINE_MAX];
static struct fields fields;

static const char *no_name(uint16_t id) {
    return id % 2 ? "NAME" : NULL;
}

/* Quotes that are not escaped come in pairs, and only inside of them stands anything but JSON's own signs. */
static void check_json(const char *p) {
    bool inside = false;
    for (; *p; p++) {
        if (inside && *p == '\\') {
            p++;
            MUST(*p && strchr("nrtu\"\\", *p));
        } else if (*p == '"') {
            inside = !inside;
        } else if (!inside) {
            MUST(strchr("{}:,.-0123456789truefalse", *p));
        }
    }
    MUST(!inside);
}

static void check_format(enum log_format format) {
    struct text t = text_of(line, sizeof(line));
    format_line(&t, format, &fields, true);
    MUST(!t.cut && t.len == strlen(line));
    for (const char *p = line; *p; p++)
        MUST((uint8_t)*p >= 0x20 && *p != 0x7f);
    if (format == LOG_AS_JSON)
        check_json(line);
}

static void check_span(const struct event *e) {
    static char span[OTLP_SPAN_MAX];
    struct text t = text_of(span, sizeof(span));
    if (!otlp_span_write(&t, e))
        return;
    json_t *o = json_loadb(t.p, t.len, JSON_REJECT_DUPLICATES, NULL);
    MUST(o && !t.cut);
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct format_names names = {no_name, no_name};
    struct event e;
    int err = event_read(span_of(data, size), &e);
    MUST(err == 0 || err == ERR_FORMAT);
    if (err < 0)
        return 0;
    MUST(e.text.len <= EVENT_TEXT_MAX && e.level <= LOG_LEVEL_DEBUG && (unsigned)e.role < ROLE_COUNT);
    fields_of_event(&e, &names, &fields);
    MUST(!fields.space.cut);
    check_format(LOG_AS_TEXT);
    check_format(LOG_AS_JSON);
    check_format(LOG_AS_LOGFMT);
    check_span(&e);
    return 0;
}
