/* `tls-off acme status|renew|revoke|rollover`. */
#pragma once

struct arguments;
extern const char acme_usage[];
int cmd_acme(const struct arguments *a);
