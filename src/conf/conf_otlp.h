/* Where spans of sessions go: a part of the configuration. Texts as in conf.h. */
#pragma once

#include <stdint.h>

#define CONF_OTLP_URL_MAX     1024
#define CONF_OTLP_SERVICE_MAX 255
#define CONF_OTLP_SAMPLE_ALL  1000000
#define CONF_OTLP_TIMEOUT_MAX 60000 /* milliseconds */

struct conf_otlp {
    const char *endpoint;     /* "http://127.0.0.1:4318/v1/traces"; NULL = no spans are made */
    const char *ca_file;      /* trust for an https one, absolute; NULL = the system's */
    const char *headers_file; /* more fields of each request, absolute; NULL = none */
    const char *service_name; /* what this proxy is called there; never NULL */
    uint64_t timeout_ms;      /* of a request */
    uint32_t sample_ppm;      /* sessions of a million that become spans */
};
