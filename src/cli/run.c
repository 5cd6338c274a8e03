#include "cli/run.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "supervisor/supervisor.h"

static const char usage[] = "usage: tls-off run CONFIG.toml [--ready-fd N]        (or --config CONFIG.toml, -c CONFIG.toml)\n"
                            "       tls-off run --listen ADDRESS --backend BACKEND [--ready-fd N]\n"
                            "\n"
                            "  --listen ADDRESS   127.0.0.1:8443, [::1]:8443; port 0 = any free one; may be repeated\n"
                            "  --backend BACKEND  unix:/path, unix:@abstract, tcp:host:port; may be repeated\n"
                            "  --ready-fd N       writes one newline to descriptor N once every role serves\n"
                            "\n"
                            "Without a configuration file the certificate is self-signed, kept in the state directory.\n"
                            "Signals: TERM, INT stop (a second one at once), HUP reloads, USR1 reopens the log file.\n";

struct arguments {
    struct control_request what;
    int ready_fd;
};

static bool add_flag(struct span *list, uint16_t *n, const char *value) {
    if (*n == CONTROL_FLAGS_MAX) {
        fprintf(stderr, "tls-off run: more than %d of one flag\n", CONTROL_FLAGS_MAX);
        return false;
    }
    list[(*n)++] = span_str(value);
    return true;
}

static bool read_ready_fd(const char *value, int *ret_fd) {
    uint64_t n;
    if (text_parse_u64(value, 1 << 20, &n) < 0 || fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0) {
        fprintf(stderr, "tls-off run: --ready-fd: found \"%s\", expected an open descriptor\n", value);
        return false;
    }
    *ret_fd = (int)n;
    return true;
}

static bool read_flag(struct arguments *a, const char *flag, const char *value) {
    if ((strcmp(flag, "--config") == 0 || strcmp(flag, "-c") == 0) && !a->what.file.len) {
        a->what.file = span_str(value);
        return true;
    }
    if (strcmp(flag, "--listen") == 0)
        return add_flag(a->what.listen, &a->what.nlisten, value);
    if (strcmp(flag, "--backend") == 0)
        return add_flag(a->what.backend, &a->what.nbackend, value);
    if (strcmp(flag, "--ready-fd") == 0)
        return read_ready_fd(value, &a->ready_fd);
    fprintf(stderr, "tls-off run: unknown flag %s\n%s", flag, usage);
    return false;
}

static bool read_arguments(int argc, char **argv, struct arguments *a) {
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            if (a->what.file.len) {
                fprintf(stderr, "tls-off run: more than one configuration file\n%s", usage);
                return false;
            }
            a->what.file = span_str(argv[i]);
        } else if (i + 1 == argc) {
            fprintf(stderr, "tls-off run: %s needs a value\n%s", argv[i], usage);
            return false;
        } else if (!read_flag(a, argv[i], argv[i + 1])) {
            return false;
        } else {
            i++;
        }
    }
    bool flags = a->what.nlisten || a->what.nbackend;
    if (a->what.file.len ? flags : !a->what.nlisten || !a->what.nbackend) {
        fprintf(stderr, "tls-off run: expected a configuration file, or --listen and --backend\n%s", usage);
        return false;
    }
    return true;
}

int cmd_run(int argc, char **argv) {
    struct arguments a = {.ready_fd = -1};
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    return read_arguments(argc, argv, &a) ? supervisor_run(&a.what, a.ready_fd) : 2;
}
