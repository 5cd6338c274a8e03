#include "cli/new_secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/arguments.h"
#include "conf/ticket_secret.h"

const char ticket_secret_usage[] =
    "usage: tls-off ticket-secret new FILE\n"
    "\n"
    "Writes 64 random bytes to FILE (mode 0600), for \"secret_file\" in [tickets]. An existing file is not changed.\n"
    "Machines with the same secret resume each other's sessions; copy it the way you copy private keys.\n"
    "\n"
    "Exit status: 0 made, 1 not made, 2 wrong usage.\n";

int cmd_ticket_secret(const struct arguments *a) {
    const char *file = arguments_operand(a, 1);
    if (!file[0] || strcmp(file, "-") == 0)
        return arguments_refuse(a, "found \"%s\", expected the name of a file", file);
    if (ticket_secret_new(file) == 0)
        return 0;
    (void)fprintf(stderr, "tls-off ticket-secret: \"%s\" was not made: %s%s\n", file, strerror(errno),
                  errno == EEXIST ? "; a secret is never overwritten, since every machine would have to change at once" : "");
    return 1;
}
