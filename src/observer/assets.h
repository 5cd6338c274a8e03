/* The dashboard's files, as tools/embed-assets puts them into the program from dashboard/dist/. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct asset_bytes {
    const uint8_t *p;
    size_t len;
};

struct asset {
    const char *path; /* "/app.js" */
    const char *type;
    const char *etag; /* with its quotes; of the plain bytes */
    struct asset_bytes plain, packed;
};

extern const struct asset assets[];
extern const size_t assets_count;
