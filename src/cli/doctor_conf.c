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
#include "cli/doctor_try.h"
#include "conf/check_files.h"
#include "conf/otlp_keys.h"
#include "conf/state_dir.h"
#include "tls/cert_trust.h"

#define CONNECT_MS    2000
#define TRIES_AT_ONCE 64
#define NAME_FAILED   150 /* results of a try above: getaddrinfo()'s failure, negated; below: an errno */
#define DAY_S         86400
#define SOON_DAYS     14

/* ---- backends ---- */

/* Waits for the connection; 0, or errno. */
static int wait_connected(int fd, const void *a, socklen_t len) {
    if (connect(fd, a, len) == 0)
        return 0;
    if (errno == EAGAIN) /* of a Unix socket: it listens, and its queue is full */
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
    int error = fd < 0 ? errno : wait_connected(fd, a, len);
    if (fd >= 0)
        close(fd);
    return error;
}

static int try_unix(const void *backend) {
    const struct conf_backend *b = backend;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    bool abstract = b->kind == BACKEND_UNIX_ABSTRACT;
    size_t n = strlen(b->path), at = abstract ? 1 : 0;
    if (at + n >= sizeof(a.sun_path))
        return ENAMETOOLONG;
    memcpy(a.sun_path + at, b->path, n);
    return try_address(AF_UNIX, &a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + at + n + (abstract ? 0 : 1)));
}

/* Every address of the name is tried, the last failure counts. */
static int try_tcp(const void *backend) {
    const struct conf_backend *b = backend;
    char port[8];
    struct text t = text_of(port, sizeof(port));
    text_addf(&t, "%u", b->port);
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
    int failed = getaddrinfo(b->path, port, &hints, &list), error = ECONNREFUSED;
    if (failed)
        return MIN(NAME_FAILED - failed, DOCTOR_TRY_MAX);
    for (const struct addrinfo *i = list; i && error; i = i->ai_next)
        error = try_address(i->ai_family, i->ai_addr, i->ai_addrlen);
    freeaddrinfo(list);
    return error;
}

static const char *why_not(int result) {
    return result > NAME_FAILED ? gai_strerror(NAME_FAILED - result) : strerror(result);
}

/* A Unix socket with the rights of the roles, which become USER. */
static void begin_backend(struct doctor_try *t, const char *user, const struct conf_backend *b) {
    bool tcp = b->kind == BACKEND_TCP;
    doctor_try_begin(t, tcp ? NULL : user, tcp ? try_tcp : try_unix, b);
}

static void look_at_backend(struct doctor *d, struct doctor_try *t, const struct conf_service *s,
                            const struct conf_backend *b) {
    int error = doctor_try_end(t);
    const char *todo = error == EACCES ? "let the user of tls-off write to the socket: its group and mode 0660"
                                       : "start the application, or mend \"backends\"";
    if (error)
        doctor_say(d, FINDING_WRONG, "backends", todo, "service %s: %s: %s", s->name, b->text, why_not(error));
    else
        doctor_say(d, FINDING_GOOD, "backends", NULL, "service %s: %s answers", s->name, b->text);
}

/* Of all services in their order, each with the try that stands for it. */
static void look_at_backends(struct doctor *d, const char *user, const struct conf *c) {
    struct doctor_try tries[TRIES_AT_ONCE];
    size_t begun_service = 0, begun_backend = 0, begun = 0, ended = 0;
    for (size_t i = 0; i < c->nservices; i++)
        for (size_t k = 0; k < c->services[i].nbackends; k++, ended++) {
            while (begun_service < c->nservices && begun < ended + TRIES_AT_ONCE) {
                const struct conf_service *s = &c->services[begun_service];
                if (begun_backend < s->nbackends)
                    begin_backend(&tries[begun++ % TRIES_AT_ONCE], user, &s->backends[begun_backend++]);
                else
                    begun_service++, begun_backend = 0;
            }
            look_at_backend(d, &tries[ended % TRIES_AT_ONCE], &c->services[i], &c->services[i].backends[k]);
        }
}

static void look_at_collector(struct doctor *d, const struct conf *c) {
    struct otlp_endpoint e;
    struct doctor_try t;
    if (!c->otlp.endpoint || !otlp_endpoint_parse(c->otlp.endpoint, &e))
        return;
    doctor_try_begin(&t, NULL, try_tcp, &(struct conf_backend){.path = e.host, .port = e.port});
    int error = doctor_try_end(&t);
    if (error)
        doctor_say(d, FINDING_WRONG, "traces", "start the collector, or mend \"endpoint\" of [otlp]", "%s port %u: %s", e.host,
                   e.port, why_not(error));
    else
        doctor_say(d, FINDING_GOOD, "traces", NULL, "%s port %u answers", e.host, e.port);
}

/* ---- rights ---- */

static int try_nothing(const void *what) {
    (void)what;
    return 0;
}

static void look_at_user(struct doctor *d, const struct conf *c) {
    struct doctor_try t;
    if (geteuid() != 0)
        return;
    doctor_try_begin(&t, c->user, try_nothing, NULL);
    int error = doctor_try_end(&t);
    if (error)
        doctor_say(d, FINDING_WRONG, "rights", "start with CAP_SETUID and CAP_SETGID, or as that user and without \"user\"",
                   "roles cannot become the user %s: %s", c->user, strerror(error));
    else if (c->user)
        doctor_say(d, FINDING_GOOD, "rights", NULL, "roles become the user %s", c->user);
    else
        doctor_say(d, FINDING_ADVICE, "rights", "adduser --system --group tls-off",
                   "no user tls-off and no \"user\": roles stay root");
}

static void look_at_state_dir(struct doctor *d, const struct conf *c) {
    struct stat st;
    const char *dir = c->state_dir;
    char reason[PATH_MAX + 64];
    struct text why = text_of(reason, sizeof(reason));
    bool there = stat(dir, &st) == 0, can = there || can_be_made(dir, &why);
    if (!there && can)
        doctor_say(d, FINDING_GOOD, "rights", NULL, "state_dir %s: is made when it is needed", dir);
    else if (!there) /* what needs it is an error of the configuration */
        doctor_say(d, FINDING_ADVICE, "rights", "name one that the user who starts tls-off may make",
                   "state_dir %s: is not there, and this user cannot make it: %s", dir, reason);
    else if (access(dir, W_OK) < 0)
        doctor_say(d, FINDING_WRONG, "rights", "give it to the user that starts tls-off", "state_dir %s: %s", dir,
                   strerror(errno));
    else if (st.st_mode & (S_IWGRP | S_IWOTH))
        doctor_say(d, FINDING_ADVICE, "rights", "chmod go-w", "state_dir %s: other users may write to it", dir);
    else
        doctor_say(d, FINDING_GOOD, "rights", NULL, "state_dir %s", dir);
}

static int try_webroot(const void *dir) {
    return check_webroot_access(dir);
}

static void look_at_webroot(struct doctor *d, const char *user, const char *dir) {
    struct doctor_try t;
    if (!dir)
        return;
    doctor_try_begin(&t, user, try_webroot, dir);
    int error = doctor_try_end(&t);
    if (error)
        doctor_say(
            d, FINDING_WRONG, "rights",
            "let the user of tls-off write to .well-known/acme-challenge there; a systemd unit needs ReadWritePaths= for it",
            "acme.webroot %s: %s", dir, strerror(error));
    else
        doctor_say(d, FINDING_GOOD, "rights", NULL, "acme.webroot %s", dir);
}

void doctor_configuration(struct doctor *d, const struct conf *c) {
    look_at_user(d, c);
    look_at_state_dir(d, c);
    look_at_webroot(d, geteuid() == 0 ? c->user : NULL, c->acme.webroot);
    look_at_backends(d, geteuid() == 0 ? c->user : NULL, c);
    look_at_collector(d, c);
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
