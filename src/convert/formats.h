/* From the configuration of another TLS proxy to ours. */
#pragma once

#include "base/span.h"
#include "base/text.h"
#include "convert/model.h"

struct convert_format {
    const char *name;
    /* Reads BYTES, the text of M's file. ERR_FORMAT with one plain line in WHY when it is no such file. */
    int (*read)(struct model *m, struct span bytes, struct text *why);
};

/* NULL past the end. */
const struct convert_format *convert_format_at(size_t i);
