#include "convert/formats.h"

#include "convert/readers.h"

static const struct convert_format formats[] = {
    {"hitch", convert_hitch}, {"stunnel", convert_stunnel}, {"haproxy", convert_haproxy}, {"nginx-stream", convert_nginx}};

const struct convert_format *convert_format_at(size_t i) {
    return i < ARRAY_LEN(formats) ? &formats[i] : NULL;
}
