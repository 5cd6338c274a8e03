/* How many there can be: sizes of what processes share, and bounds of the configuration. */
#pragma once

#define WORKERS_MAX  64
#define SERVICES_MAX 4096
