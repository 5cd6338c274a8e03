#include "cli/init.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/arguments.h"
#include "cli/found.h"

const char init_usage[] =
    "usage: tls-off init [FILE]\n"
    "\n"
    "Writes a first configuration, with comments, for what this machine has: certificates where certbot, acme.sh, lego\n"
    "and others keep them, and the socket or port of an application that listens. Asks nothing and changes nothing.\n"
    "Without FILE it goes to stdout; a FILE that exists is left alone.\n"
    "\n"
    "Exit status: 0 written, 1 not written, 2 wrong usage.\n";

/* The lowest port that may be had without more rights. */
static unsigned first_free_port(void) {
    unsigned first = 1024;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
    if (f && fscanf(f, "%u", &first) != 1)
        first = 1024;
    if (f)
        (void)fclose(f); /* was only read */
    return first;
}

static void write_listen(FILE *to) {
    bool allowed = geteuid() == 0 || first_free_port() <= 443, taken = found_port_taken(443);
    const char *why = taken ? "another program has port 443: give it up there, then write \":443\" here"
                            : "port 443 takes root, a unit, or a lower net.ipv4.ip_unprivileged_port_start";
    if (allowed && !taken)
        fputs("listen = [\":443\"]  # all addresses, IPv4 and IPv6\n", to);
    else
        fprintf(to, "listen = [\":8443\"]  # %s\n", why);
}

/* The first is used, the others are there to choose from. */
static void write_backends(FILE *to) {
    struct found_list l;
    found_backends(&l);
    if (l.n == 0)
        fputs(
            "backends = [\"unix:/run/app.sock\"]  # nothing was found: your application's socket, or \"tcp:127.0.0.1:8080\"\n",
            to);
    else
        fprintf(to, "backends = [\"%s\"]  # listens here now\n", l.text[0]);
    for (size_t i = 1; i < l.n; i++)
        fprintf(to, "# also found: \"%s\"\n", l.text[i]);
}

static void write_certificates(FILE *to) {
    struct found_list l, refused;
    found_certificates(&l, &refused);
    for (size_t i = 0; i < refused.n; i++)
        fprintf(to, "# Not used: %s\n", refused.text[i]);
    if (l.n == 0) {
        fprintf(to,
                "# No certificates%s were found: a self-signed one is made, which no client trusts. Bring your own,\n"
                "# certificates = [{ cert = \"fullchain.pem\", key = \"privkey.pem\" }]\n"
                "# or have an issuer make them: see [acme] in tls-off.toml(5).\n",
                refused.n ? " that can be used" : "");
        return;
    }
    fputs("certificates = [", to);
    for (size_t i = 0; i < l.n; i++)
        fprintf(to, "%s\"%s\"", i ? ", " : "", l.text[i]);
    fputs("]  # read again when they change\n", to);
}

static void write_conf(FILE *to) {
    fputs("# Written by `tls-off init` for what it found on this machine. Check it, then start:\n"
          "#   tls-off check FILE\n"
          "#   tls-off run FILE\n"
          "# Every key is described in tls-off.toml(5).\n\n",
          to);
    if (geteuid() == 0 && getpwnam("tls-off"))
        fputs("user = \"tls-off\"  # whom the processes become that clients talk to\n\n", to);
    fputs("[log]\n"
          "target = \"stderr\"  # or \"journal\", \"syslog\", a file\n"
          "format = \"text\"    # or \"json\", \"logfmt\"\n\n"
          "[service.app]\n",
          to);
    write_listen(to);
    write_backends(to);
    write_certificates(to);
    fputs("alpn = []  # what the application speaks: [\"http/1.1\"], [\"h2\", \"http/1.1\"]; empty: none is agreed on\n\n"
          "[service.app.proxy_protocol]\n"
          "send = \"none\"  # \"v2\" says who the client is, to applications that read it\n\n"
          "[service.app.limits]\n"
          "sessions_per_client = 1024\n",
          to);
}

/* A new file, whole or not at all. False: errno. */
static bool write_new_file(const char *name, struct span bytes) {
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    bool ok = fd_write_all(fd, bytes) == 0;
    int error = errno;
    if (close(fd) < 0 && ok) {
        ok = false;
        error = errno;
    }
    if (!ok)
        (void)unlink(name); /* ours; the first fault is the one to report */
    errno = error;
    return ok;
}

int cmd_init(const struct arguments *a) {
    const char *file = arguments_operand(a, 0);
    if (file && (!file[0] || strcmp(file, "-") == 0))
        return arguments_refuse(a, "found \"%s\", expected the name of a file", file);
    char *bytes = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&bytes, &len);
    if (to)
        write_conf(to);
    bool ok = to && fclose(to) == 0;
    if (ok && file)
        ok = write_new_file(file, span_of(bytes, len));
    else if (ok)
        fputs(bytes, stdout);
    if (!ok)
        fprintf(stderr, "tls-off init: \"%s\" was not written: %s\n", file ? file : "-", strerror(errno));
    free(bytes);
    return ok ? 0 : 1;
}
