/* What a configuration names, as `tls-off doctor` sees it. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "cli/doctor.h"
#include "tls/cert_trust.h"

#define CONNECT_MS 2000
#define DAY_S      86400
#define SOON_DAYS  14

/* ---- backends ---- */

/* Waits for the connection; 0, or errno. */
static int connected(int fd, const void *a, socklen_t len) {
    if (connect(fd, a, len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = ETIMEDOUT;
    socklen_t n = sizeof(error);
    if (poll(&p, 1, CONNECT_MS) > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        return errno;
    return error;
}

static int try_address(int family, const void *a, socklen_t len) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : connected(fd, a, len);
    if (fd >= 0)
        close(fd);
    return error;
}

static int try_unix(const struct conf_backend *b) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    bool abstract = b->kind == BACKEND_UNIX_ABSTRACT;
    size_t n = strlen(b->path), at = abstract ? 1 : 0;
    if (at + n >= sizeof(a.sun_path))
        return ENAMETOOLONG;
    memcpy(a.sun_path + at, b->path, n);
    return try_address(AF_UNIX, &a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + at + n + (abstract ? 0 : 1)));
}

/* Every address of the name is tried, the last failure counts. */
static int try_tcp(const struct conf_backend *b, const char **ret_why) {
    char port[8];
    struct text t = text_of(port, sizeof(port));
    text_addf(&t, "%u", b->port);
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
    int failed = getaddrinfo(b->path, port, &hints, &list), error = ECONNREFUSED;
    if (failed) {
        *ret_why = gai_strerror(failed);
        return EADDRNOTAVAIL;
    }
    for (const struct addrinfo *i = list; i && error; i = i->ai_next)
        error = try_address(i->ai_family, i->ai_addr, i->ai_addrlen);
    freeaddrinfo(list);
    return error;
}

static void look_at_backend(struct doctor *d, const struct conf_service *s, const struct conf_backend *b) {
    const char *why = NULL;
    int error = b->kind == BACKEND_TCP ? try_tcp(b, &why) : try_unix(b);
    const char *todo = error == EACCES ? "let the user of tls-off write to the socket: its group and mode 0660"
                                       : "start the application, or mend \"backends\"";
    if (error)
        doctor_say(d, FINDING_WRONG, "backends", todo, "service %s: %s: %s", s->name, b->text, why ? why : strerror(error));
    else
        doctor_say(d, FINDING_GOOD, "backends", NULL, "service %s: %s answers", s->name, b->text);
}

/* ---- rights ---- */

static void look_at_user(struct doctor *d, const struct conf *c) {
    if (geteuid() != 0)
        return;
    if (c->user)
        doctor_say(d, FINDING_GOOD, "rights", NULL, "roles become the user %s", c->user);
    else
        doctor_say(d, FINDING_ADVICE, "rights", "adduser --system --group tls-off",
                   "no user tls-off and no \"user\": roles stay root");
}

static void look_at_state_dir(struct doctor *d, const struct conf *c) {
    struct stat st;
    const char *dir = c->state_dir;
    if (stat(dir, &st) < 0)
        doctor_say(d, errno == ENOENT ? FINDING_GOOD : FINDING_WRONG, "rights", NULL, "state_dir %s: %s", dir,
                   errno == ENOENT ? "is made at the first start" : strerror(errno));
    else if (access(dir, W_OK) < 0)
        doctor_say(d, FINDING_WRONG, "rights", "give it to the user that starts tls-off", "state_dir %s: %s", dir,
                   strerror(errno));
    else if (st.st_mode & (S_IWGRP | S_IWOTH))
        doctor_say(d, FINDING_ADVICE, "rights", "chmod go-w", "state_dir %s: other users may write to it", dir);
    else
        doctor_say(d, FINDING_GOOD, "rights", NULL, "state_dir %s", dir);
}

void doctor_configuration(struct doctor *d, const struct conf *c) {
    look_at_user(d, c);
    look_at_state_dir(d, c);
    for (size_t i = 0; i < c->nservices; i++)
        for (size_t k = 0; k < c->services[i].nbackends; k++)
            look_at_backend(d, &c->services[i], &c->services[i].backends[k]);
}

/* ---- certificates ---- */

void doctor_certificates(struct doctor *d, const struct creds *creds) {
    int64_t now = (int64_t)time(NULL);
    for (uint32_t i = 0; i < creds_entries(creds); i++) {
        const struct creds_entry e = creds_entry(creds, i);
        struct span ders[CREDS_CHAIN_MAX];
        char line[256];
        struct text why = text_of(line, sizeof(line));
        for (uint32_t n = 0; n < e.nchain; n++)
            ders[n] = creds_cert(creds, i, n).der;
        int64_t days = (creds_cert(creds, i, 0).not_after - now) / DAY_S;
        if (cert_trust(ders, e.nchain, &why) < 0)
            doctor_say(d, FINDING_ADVICE, "certificates",
                       "put what is missing behind the leaf (\"fullchain\"); for a CA of your own clients need its certificate",
                       "%s: clients with this system's CA certificates refuse it: %s", e.cert_file, line);
        else if (days < SOON_DAYS)
            doctor_say(d, FINDING_ADVICE, "certificates", "see that something renews it", "%s: expires in %lld days",
                       e.cert_file, (long long)days);
        else
            doctor_say(d, FINDING_GOOD, "certificates", NULL, "%s: trusted here, %lld days left", e.cert_file, (long long)days);
    }
}
