#include "cli/new_secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conf/ticket_secret.h"

static const char usage[] =
    "usage: tls-off ticket-secret new FILE\n"
    "\n"
    "Writes 64 random bytes to FILE (mode 0600), for \"secret_file\" in [tickets]. An existing file is not changed.\n"
    "Machines with the same secret resume each other's sessions; copy it the way you copy private keys.\n"
    "\n"
    "Exit status: 0 made, 1 not made, 2 wrong usage.\n";

int cmd_ticket_secret(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "new") != 0 || argv[2][0] == '-' || argv[2][0] == 0) {
        (void)fputs(usage, stderr); /* nowhere left to complain */
        return 2;
    }
    if (ticket_secret_new(argv[2]) == 0)
        return 0;
    (void)fprintf(stderr, "tls-off ticket-secret: \"%s\" was not made: %s%s\n", argv[2], strerror(errno),
                  errno == EEXIST ? "; a secret is never overwritten, since every machine would have to change at once" : "");
    return 1;
}
