/* What the configuration's loader must know of TLS, answered by src/tls: the loader itself knows no OpenSSL. */
#pragma once

#include "conf/load.h"

/* Static storage; for conf_load_file(), conf_load_flags() and config_role_run(). */
const struct conf_probes *tls_probes(void);
