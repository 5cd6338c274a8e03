#include "cli/run.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/arguments.h"
#include "conf/conf_acme.h"
#include "supervisor/supervisor.h"

const char run_usage[] =
    "usage: tls-off run CONFIG.toml [--ready-fd N]        (or --config CONFIG.toml, -c CONFIG.toml)\n"
    "       tls-off run --listen ADDRESS --backend BACKEND [--ready-fd N]\n"
    "       tls-off run --listen :443 --backend BACKEND --name NAME --acme --acme-terms-accepted [--ready-fd N]\n"
    "\n"
    "  --listen ADDRESS       127.0.0.1:8443, [::1]:8443, :443 for all addresses; port 0 = any free one; may be repeated\n"
    "  --backend BACKEND      unix:/path, unix:@abstract, tcp:host:port; may be repeated\n"
    "  --ready-fd N           writes one newline to descriptor N once every role serves\n"
    "\n"
    "Without a configuration file the certificate is self-signed, or from an ACME issuer (--acme), and kept in the state\n"
    "directory:\n"
    "  --acme                 orders and renews it by tls-alpn-01: the issuer comes to port 443 of each name\n"
    "  --name NAME            a host name or address that the certificate is for; may be repeated\n"
    "  --acme-terms-accepted  says that you accept the issuer's terms of service\n"
    "  --acme-directory URL   another issuer than Let's Encrypt\n"
    "  --acme-ca-file FILE    what the issuer's own certificate is checked by; without it what the system trusts\n"
    "\n"
    "Signals: TERM, INT stop (a second one at once), HUP reloads, USR1 reopens the log file.\n";

struct run_args {
    struct control_request what;
    int ready_fd;
    bool acme, terms_accepted;
};

static bool add_repeated(struct span *list, uint16_t *n, const char *value) {
    if (*n == CONTROL_FLAGS_MAX) {
        fprintf(stderr, "tls-off run: more than %d of one flag\n", CONTROL_FLAGS_MAX);
        return false;
    }
    list[(*n)++] = span_str(value);
    return true;
}

/* A copy, which is closed when it has been used: a standard stream stays what it is. */
static bool read_ready_fd(const char *value, int *ret_fd) {
    uint64_t n;
    int fd = text_parse_u64(value, 1 << 20, &n) == 0 ? fcntl((int)n, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
    if (fd < 0) {
        fprintf(stderr, "tls-off run: --ready-fd: found \"%s\", expected an open descriptor\n", value);
        return false;
    }
    *ret_fd = fd;
    return true;
}

static bool read_once(const struct arguments *given, const char *flag, struct span *to, const char *value) {
    if (to->len)
        (void)arguments_refuse(given, "%s: found twice, expected once", flag);
    else if (!value[0])
        (void)arguments_refuse(given, "%s: found an empty value", flag);
    else {
        *to = span_str(value);
        return true;
    }
    return false;
}

static bool read_argument(const struct arguments *given, struct run_args *a, const struct argument *x) {
    struct control_request *q = &a->what;
    const char *flag = x->flag ? x->flag : "--config";
    if (strcmp(flag, "--acme") == 0)
        return a->acme = true;
    if (strcmp(flag, "--acme-terms-accepted") == 0)
        return a->terms_accepted = true;
    if (strcmp(flag, "--config") == 0)
        return read_once(given, "configuration file", &q->file, x->value);
    if (strcmp(flag, "--listen") == 0)
        return add_repeated(q->listen, &q->nlisten, x->value);
    if (strcmp(flag, "--backend") == 0)
        return add_repeated(q->backend, &q->nbackend, x->value);
    if (strcmp(flag, "--name") == 0)
        return add_repeated(q->name, &q->nname, x->value);
    if (strcmp(flag, "--ready-fd") == 0)
        return read_ready_fd(x->value, &a->ready_fd);
    return read_once(given, flag, strcmp(flag, "--acme-directory") == 0 ? &q->directory : &q->ca_file, x->value);
}

static bool refuse_acme(const char *what) {
    fprintf(stderr, "tls-off run: %s\n", what);
    return false;
}

/* Certificates from an issuer: all that is needed, and nothing that would have no effect. */
static bool check_acme(struct run_args *a) {
    struct control_request *q = &a->what;
    bool rest = q->nname || a->terms_accepted || q->directory.len || q->ca_file.len;
    if (q->file.len && (a->acme || rest))
        return refuse_acme("--acme, --name: found beside a configuration file, expected [acme.issuer.NAME] and \"acme\" of a "
                           "service in the file");
    if (!a->acme && rest)
        return refuse_acme("--name, --acme-terms-accepted, --acme-directory, --acme-ca-file: expected --acme beside them");
    if (!a->acme)
        return true;
    if (!q->nname)
        return refuse_acme("--acme: found no name, expected --name example.org for each name of the certificate");
    if (!a->terms_accepted)
        return refuse_acme("--acme: expected --acme-terms-accepted, which says that you accept the issuer's terms of service "
                           "(of Let's Encrypt: https://letsencrypt.org/repository/)");
    if (!q->directory.len)
        q->directory = span_str(ACME_DEFAULT_DIRECTORY);
    if (q->directory.len < 8 || memcmp(q->directory.p, "https://", 8) != 0)
        return refuse_acme("--acme-directory: expected the URL of an ACME directory, https://...");
    return true;
}

static bool read_run_args(const struct arguments *given, struct run_args *a) {
    for (size_t i = 0; i < given->n; i++)
        if (!read_argument(given, a, &given->list[i]))
            return false;
    bool flags = a->what.nlisten || a->what.nbackend;
    if (a->what.file.len ? flags : !a->what.nlisten || !a->what.nbackend) {
        (void)arguments_refuse(given, "expected a configuration file, or --listen and --backend");
        return false;
    }
    return check_acme(a);
}

int cmd_run(const struct arguments *given) {
    struct run_args a = {.ready_fd = -1};
    return read_run_args(given, &a) ? supervisor_run(&a.what, a.ready_fd) : EXIT_USAGE;
}
