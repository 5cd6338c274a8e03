/* What the configuration loader must know of TLS, from src/tls: the loader itself does not use OpenSSL. */
#pragma once

#include "conf/load.h"

/*
 * For conf_load_file(), conf_load_flags() and config_role_run(), once in the life of a process: static storage. FLAGS are those
 * of tls/cert_load.h.
 */
const struct conf_capabilities *tls_capabilities(unsigned flags);
