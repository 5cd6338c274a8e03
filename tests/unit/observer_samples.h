/* A configuration and names for tests of the observer's parts. */
#pragma once

#include "wire_samples.h"

#include "observer/fields.h"

static inline const char *sample_suite(uint16_t id) {
    return id == 0x1301 ? "TLS_AES_128_GCM_SHA256" : NULL;
}

static inline const char *sample_group(uint16_t id) {
    return id == 29 ? "x25519" : NULL;
}

static const struct format_names sample_names = {sample_suite, sample_group};

static inline const struct conf *sample_conf(void) {
    static struct conf_backend backends[] = {{.text = "unix:/run/a.sock"}, {.text = "unix:/run/b.sock"}};
    static struct conf_service services[] = {{.name = "mail"}, {.name = "web", .backends = backends, .nbackends = 2}};
    static const struct conf conf = {.services = services, .nservices = 2, .log_level = LOG_LEVEL_INFO};
    return &conf;
}
