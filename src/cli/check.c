#include "cli/check.h"

#include <stdio.h>
#include <string.h>

#include "cli/capabilities.h"
#include "conf/load.h"
#include "tls/cert_load.h"

static const char usage[] =
    "usage: tls-off check FILE\n"
    "\n"
    "Reads the configuration in FILE and checks it, the files it names and the addresses it listens on.\n"
    "Every fault is a line with its place, the key, what was found and what was expected.\n"
    "\n"
    "Exit status: 0 valid (warnings included), 1 the configuration is wrong, 2 wrong usage.\n";

int cmd_check(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return fputs(usage, stdout) < 0 ? 1 : 0;
    if (argc == 3 && strcmp(argv[1], "--") == 0) {
        argv++;
        argc--;
    } else if (argc != 2 || argv[1][0] == '-') {
        (void)fputs(usage, stderr); /* nowhere left to complain */
        return 2;
    }
    const char *file = argv[1];
    struct diagnostics f;
    diagnostics_init(&f);
    struct conf *c = conf_load_file(file, LOAD_FOR_CHECK, tls_capabilities(CERT_LOAD_KEYS), &f);
    int ret = c ? 0 : 1;
    if (f.text)
        (void)fputs(f.text, stderr); /* nowhere left to complain */
    if (c && (printf("%s: ok\n", file) < 0 || fflush(stdout) != 0))
        ret = 1;
    conf_free(c);
    diagnostics_fini(&f);
    return ret;
}
