/* `tls-off acme status|renew|revoke|rollover`. */
#pragma once

int cmd_acme(int argc, char **argv);
