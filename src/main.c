/*
 * The entry point of all processes: a command from the command line, or a role started by the supervisor (--role NAME --index
 * N, with the control socket as descriptor 3).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "acme/acme.h"
#include "base/fds.h"
#include "cli/arguments.h"
#include "cli/capabilities.h"
#include "cli/command_table.h"
#include "config/config_role.h"
#include "exporter/exporter.h"
#include "fleet/fleet.h"
#include "handshaker/handshaker.h"
#include "keymaker/keymaker.h"
#include "observer/observer.h"
#include "process/role.h"
#include "relay/relay.h"
#include "resolver/resolver.h"
#include "shm/roles.h"
#include "signer/signer.h"
#include "supervisor/dry_run.h"
#include "supervisor/supervisor.h"
#include "tls/libcrypto.h"
#include "tls/suite.h"

static const char *suite_name(uint16_t id) {
    const struct suite *s = suite_by_id(id);
    return s ? s->name : NULL;
}

static const char *group_name(uint16_t id) {
    const struct group *g = group_by_id(id);
    return g ? g->name : NULL;
}

/* The config role reads only the operator's files, but it is a parser. */
static bool enter_config_sandbox(void) {
    char line[256];
    struct text why = text_of(line, sizeof(line));
    unsigned missing;
    if (sandbox_enter(ROLE_CONFIG, &(struct sandbox){.user = NULL}, &missing, &why) == 0)
        return true;
    fprintf(stderr, "tls-off: config: %s\n", line);
    return false;
}

static const struct role_table *const roles[ROLE_COUNT] = {
    [ROLE_RELAY] = &relay_role,       [ROLE_HANDSHAKER] = &handshaker_role, [ROLE_SIGNER] = &signer_role,
    [ROLE_RESOLVER] = &resolver_role, [ROLE_KEYMAKER] = &keymaker_role,     [ROLE_ACME] = &acme_role,
    [ROLE_FLEET] = &fleet_role,       [ROLE_EXPORTER] = &exporter_role,
};

static int run_role(enum role role) {
    (void)prctl(PR_SET_NAME, "tls-off"); /* exec by descriptor has made it a number; a mere name */
    static const struct format_names names = {suite_name, group_name};
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return 1;
    /* a terminal's Ctrl-C reaches all processes: the supervisor alone decides what it means */
    if (signal(SIGINT, SIG_IGN) == SIG_ERR)
        return 1;
    bool has_keys = role == ROLE_SIGNER || role == ROLE_KEYMAKER; /* they give it a heap of their own first */
    if (!has_keys && (!libcrypto_wipe_freed() || !libcrypto_begin()))
        return 1;
    switch (role) {
    case ROLE_SUPERVISOR:
        return supervisor_dry_run(ROLE_CONTROL_FD);
    case ROLE_CONFIG:
        if (!enter_config_sandbox())
            return 1;
        return config_role_run(ROLE_CONTROL_FD, tls_capabilities(0));
    case ROLE_OBSERVER:
        return observer_run(ROLE_CONTROL_FD, &names);
    default:
        if (role < ROLE_COUNT && roles[role])
            return role_run(roles[role], ROLE_CONTROL_FD);
        fputs("tls-off: --role is for the supervisor's own use\n", stderr);
        return 2;
    }
}

/* Anywhere among the arguments of a command: what stands before it need not be right. */
static bool wants_help(int argc, char **argv) {
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int run_with(const struct command *c, int argc, char **argv) {
    struct arguments a;
    int status = arguments_read(&a, c, argc, argv) ? c->run(&a) : EXIT_USAGE;
    arguments_fini(&a);
    return status;
}

/* The exit status. */
static int run_command(int argc, char **argv) {
    if (argc < 2) {
        commands_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        commands_usage(stdout);
        return EXIT_OK;
    }
    const struct command *c = command_by_name(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    if (c && wants_help(argc, argv)) {
        fputs(c->usage, stdout);
        return EXIT_OK;
    }
    if (!libcrypto_begin())
        return EXIT_INPUT;
    struct stat st;
    if (c)
        return run_with(c, argc - 2, argv + 2);
    if (argv[1][0] != '-' && stat(argv[1], &st) == 0) /* `tls-off config.toml` is short for `tls-off run config.toml` */
        return run_with(command_by_name("run"), argc - 1, argv + 1);
    fprintf(stderr, "tls-off: \"%s\" is neither a command nor a file\n", argv[1]);
    commands_usage(stderr);
    return EXIT_USAGE;
}

/* Of every command: what it has printed must have arrived. Commands look after their standard output no further. */
static int check_output(int status) {
    errno = 0;
    if (!ferror(stdout) && fflush(stdout) == 0)
        return status;
    fprintf(stderr, "tls-off: standard output cannot be written%s%s\n", errno ? ": " : "", errno ? strerror(errno) : "");
    return status ? status : EXIT_INPUT;
}

/* Whatever the starter has set: ends of children are reported, and a file over a size limit is a full disk like any other. */
static bool set_signals(void) {
    return signal(SIGCHLD, SIG_DFL) != SIG_ERR && signal(SIGXFSZ, SIG_IGN) != SIG_ERR;
}

int main(int argc, char **argv) {
    if (!fds_fill_streams()) {
        fprintf(stderr, "tls-off: a standard stream is closed, and /dev/null cannot take its place: %s\n", strerror(errno));
        return 1;
    }
    if (!set_signals())
        return 1;
    int resumed = supervisor_resume(argv);
    if (resumed >= 0)
        return resumed;
    if (argc == 5 && strcmp(argv[1], "--role") == 0)
        return run_role(role_by_name(argv[2]));
    return check_output(run_command(argc, argv));
}
