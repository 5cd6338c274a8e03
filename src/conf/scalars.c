#include "conf/scalars.h"

#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "conf/foreign_words.h"
#include "conf/report.h"

/* ---- in the conf ---- */

uint64_t scalar_number(const struct key_row *row, const void *base) {
    const uint8_t *at = (const uint8_t *)base + row->offset;
    uint64_t v64 = 0;
    uint32_t v32 = 0;
    uint16_t v16 = 0;
    switch (row->size) {
    case sizeof(v64):
        memcpy(&v64, at, sizeof(v64));
        return v64;
    case sizeof(v32):
        memcpy(&v32, at, sizeof(v32));
        return v32;
    case sizeof(v16):
        memcpy(&v16, at, sizeof(v16));
        return v16;
    default:
        MUST(row->size == 1);
        return *at;
    }
}

void scalar_set_number(const struct key_row *row, void *base, uint64_t v) {
    uint8_t *at = (uint8_t *)base + row->offset;
    switch (row->size) {
    case sizeof(uint64_t):
        memcpy(at, &v, sizeof(v));
        break;
    case sizeof(uint32_t):
        memcpy(at, &(uint32_t){(uint32_t)v}, sizeof(uint32_t));
        break;
    case sizeof(uint16_t):
        memcpy(at, &(uint16_t){(uint16_t)v}, sizeof(uint16_t));
        break;
    default:
        MUST(row->size == 1);
        *at = (uint8_t)v;
    }
}

const char *scalar_string(const struct key_row *row, const void *base) {
    const char *s;
    memcpy(&s, (const uint8_t *)base + row->offset, sizeof(s));
    return s;
}

void scalar_set_string(const struct key_row *row, void *base, const char *s) {
    memcpy((uint8_t *)base + row->offset, &s, sizeof(s));
}

void scalar_defaults(const char *prefix, void *base) {
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const struct key_row *row = &key_rows[k];
        if (row->size == 0 || strcmp(key_scope(row), prefix) != 0)
            continue;
        if (row->type->is_text)
            scalar_set_string(row, base, row->text);
        else
            scalar_set_number(row, base, row->number);
    }
}

/* ---- bounds ---- */

static bool fits_bounds(const struct key_row *row, uint64_t v) {
    return v >= row->min && v <= row->max;
}

static bool fits_boolean(const struct key_row *row, uint64_t v) {
    (void)row;
    return v <= 1;
}

static bool fits_rate(const struct key_row *row, uint64_t v) {
    return v == 0 || fits_bounds(row, v);
}

static bool fits_duration(const struct key_row *row, uint64_t v) {
    return v == CONF_NEVER || (v >= row->min && v <= (row->max ? row->max : CONF_DURATION_MAX));
}

static bool fits_finite_duration(const struct key_row *row, uint64_t v) {
    return v != CONF_NEVER && fits_bounds(row, v);
}

static bool fits_word(const struct key_row *row, uint64_t v) {
    for (const struct word *w = row->words; w->name; w++)
        if (w->value == v)
            return true;
    return false;
}

bool scalar_number_fits(const struct key_row *row, uint64_t v) {
    return row->type->fits ? row->type->fits(row, v) : fits_bounds(row, v);
}

bool scalar_string_fits(const struct key_row *row, const char *s) {
    if (!s)
        return !row->text; /* what has a default is always there */
    if (row->type == &scalar_path)
        return s[0] == '/' && strlen(s) < PATH_MAX;
    return row->words ? value_word(row->words, s) >= 0 : strlen(s) <= row->max;
}

/* ---- from the file ---- */

static void read_boolean(struct reading *r, const struct toml_node *node) {
    scalar_set_number(r->row, r->base, node->integer != 0);
}

static void read_integer(struct reading *r, const struct toml_node *node) {
    const struct key_row *row = r->row;
    if (node->integer < 0 || !fits_bounds(row, (uint64_t)node->integer))
        reading_refuse(r, node, "an integer from %llu to %llu", (unsigned long long)row->min, (unsigned long long)row->max);
    else
        scalar_set_number(row, r->base, (uint64_t)node->integer);
}

static void read_rate(struct reading *r, const struct toml_node *node) {
    const struct key_row *row = r->row;
    if (node->integer < 0 || !fits_rate(row, (uint64_t)node->integer))
        reading_refuse(r, node, "0 (no limit) or an integer from %llu to %llu", (unsigned long long)row->min,
                       (unsigned long long)row->max);
    else
        scalar_set_number(row, r->base, (uint64_t)node->integer);
}

static void refuse_word(struct reading *r, const struct toml_node *node) {
    char words[256];
    struct text t = text_of(words, sizeof(words));
    value_words_text(r->row->words, &t);
    const char *ours = node->kind == TOML_STRING ? foreign_word(node->string) : NULL;
    if (ours && value_word(r->row->words, ours) >= 0)
        text_addf(&t, "; %s is %s here", node->string, ours);
    reading_refuse(r, node, "%s", words);
}

static void read_known_word(struct reading *r, const struct toml_node *node) {
    int v = value_word(r->row->words, node->string);
    if (v < 0)
        refuse_word(r, node);
    else
        scalar_set_number(r->row, r->base, (uint64_t)v);
}

static void read_text(struct reading *r, const struct toml_node *node) {
    if (scalar_string_fits(r->row, node->string))
        scalar_set_string(r->row, r->base, conf_strdup(r->l->conf, node->string));
    else if (r->row->words)
        refuse_word(r, node);
    else
        reading_refuse(r, node, "at most %llu bytes", (unsigned long long)r->row->max);
}

static void read_path(struct reading *r, const struct toml_node *node) {
    const char *path = node->string[0] ? load_path(r->l, node->string) : NULL;
    if (path)
        scalar_set_string(r->row, r->base, path);
    else
        reading_refuse(r, node, "a file name of 1 to %d bytes", PATH_MAX - 1);
}

static void read_duration(struct reading *r, const struct toml_node *node) {
    const struct key_row *row = r->row;
    uint64_t ms = 0;
    int err = value_duration(node->string, &ms);
    if (err == 0 && fits_duration(row, ms))
        scalar_set_number(row, r->base, ms);
    else if (err == 0 && ms < row->min)
        reading_refuse(r, node, "at least \"%llums\"", (unsigned long long)row->min);
    else if (err != ERR_FORMAT && row->max)
        reading_refuse(r, node, "at most \"%llus\", or \"none\"", (unsigned long long)row->max / 1000);
    else if (err == ERR_LIMIT)
        reading_refuse(r, node, "at most 366 days, or \"none\"");
    else
        reading_refuse(r, node, "a duration like \"250ms\", \"10s\", \"5m\", \"1h\", or \"none\"");
}

static void read_finite_duration(struct reading *r, const struct toml_node *node) {
    const struct key_row *row = r->row;
    uint64_t ms = 0;
    if (value_duration(node->string, &ms) == 0 && fits_finite_duration(row, ms))
        scalar_set_number(row, r->base, ms);
    else
        reading_refuse(r, node, "a duration from \"%llums\" to \"%llus\"", (unsigned long long)row->min,
                       (unsigned long long)row->max / 1000);
}

/* Stored in parts per million, or of what the row's MAX says. One that is not 0 does not become 0, and none becomes all but 1.
 */
static void read_ratio(struct reading *r, const struct toml_node *node) {
    double v = node->kind == TOML_FLOAT ? node->number : (double)node->integer, parts = (double)r->row->max;
    if (v == 0 || v == 1 || (v >= 1 / parts && v <= (parts - 1) / parts)) /* never true of NaN */
        scalar_set_number(r->row, r->base, (uint64_t)(v * parts + 0.5));
    else
        reading_refuse(r, node, "0, 1, or a share from %.6f to %.6f", 1 / parts, (parts - 1) / parts);
}

/* The one type that is an integer or a string. */
static void read_size(struct reading *r, const struct toml_node *node) {
    const struct key_row *row = r->row;
    uint64_t v = node->kind == TOML_INTEGER && node->integer > 0 ? (uint64_t)node->integer : 0;
    int err = node->kind == TOML_STRING ? value_size(node->string, &v) : 0;
    if (err == 0 && fits_bounds(row, v))
        scalar_set_number(row, r->base, v);
    else
        reading_refuse(r, node, "a size like 4194304, \"64KiB\", \"256MiB\" or \"1GiB\", from \"%lluMiB\" to \"%lluGiB\"",
                       (unsigned long long)(row->min >> 20), (unsigned long long)(row->max >> 30));
}

const struct key_type scalar_boolean = {TOML_BOOLEAN, TOML_BOOLEAN, false, read_boolean, fits_boolean};
const struct key_type scalar_integer = {TOML_INTEGER, TOML_INTEGER, false, read_integer, NULL};
const struct key_type scalar_rate = {TOML_INTEGER, TOML_INTEGER, false, read_rate, fits_rate};
const struct key_type scalar_ratio = {TOML_FLOAT, TOML_INTEGER, false, read_ratio, NULL};
const struct key_type scalar_word = {TOML_STRING, TOML_STRING, false, read_known_word, fits_word};
const struct key_type scalar_duration = {TOML_STRING, TOML_STRING, false, read_duration, fits_duration};
const struct key_type scalar_finite_duration = {TOML_STRING, TOML_STRING, false, read_finite_duration, fits_finite_duration};
const struct key_type scalar_size = {TOML_STRING, TOML_INTEGER, false, read_size, NULL};
const struct key_type scalar_text = {TOML_STRING, TOML_STRING, true, read_text, NULL};
const struct key_type scalar_path = {TOML_STRING, TOML_STRING, true, read_path, NULL};
