/*
 * The text formats of Prometheus: OpenMetrics 1.0 and the older text format 0.0.4, from the same calls. A family is begun once
 * and followed by its samples. Names are without "tls_off_" and without "_total".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum exposition_type { EXPOSE_COUNTER, EXPOSE_GAUGE, EXPOSE_HISTOGRAM, EXPOSE_SUMMARY, EXPOSE_INFO };

struct exposition {
    struct buf *to;
    bool open_metrics;
    bool bad; /* no room or no memory: the text is not whole */
    const char *name;
    enum exposition_type type;
};

/* Ends with a label without a name. Values are made valid by escaping. */
struct exposition_label {
    const char *name, *value;
};

/* A NAME that ends in "_bytes" or "_seconds" has that unit. NAME must live until the next family. */
void exposition_family(struct exposition *x, enum exposition_type type, const char *name, const char *help);

/* One sample; a counter's gets its "_total", an info's its "_info". */
void exposition_number(struct exposition *x, const struct exposition_label *labels, uint64_t v);
void exposition_real(struct exposition *x, const struct exposition_label *labels, double v);

/* Parts of a histogram or summary: SUFFIX "_bucket", "_count" with a number, "_sum" with a real. LE: of a bucket, else NULL. */
void exposition_part(struct exposition *x, const char *suffix, const struct exposition_label *labels, const char *le,
                     uint64_t v);
void exposition_sum(struct exposition *x, const struct exposition_label *labels, double v);

void exposition_end(struct exposition *x);
