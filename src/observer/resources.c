/* Which resource answers for which path, and by which methods. */
#include "observer/resources.h"

#include <string.h>

#include "observer/admin.h"
#include "observer/certificates.h"
#include "observer/clients.h"
#include "observer/command.h"
#include "observer/dashboard.h"
#include "observer/explain_query.h"
#include "observer/fleet_clients.h"
#include "observer/health.h"
#include "observer/live.h"
#include "observer/managed_view.h"
#include "observer/metrics.h"
#include "observer/sessions.h"
#include "observer/status.h"
#include "observer/tracing.h"

#define READ   (HTTP_GET | HTTP_HEAD)
#define HEALTH (1u << 15) /* beside the methods: answers where admin.scope is "health", too */

static void resources_answer(struct admin *a, const struct http_request *q, struct http_reply *r);

static const struct route {
    const char *path; /* one that ends in '/' takes everything below it */
    unsigned methods;
    void (*answer)(struct admin *a, const struct http_request *q, struct http_reply *r);
} routes[] = {
    /* clang-format off */
    {"/", READ, dashboard_answer},
    {"/app.css", READ, dashboard_answer},
    {"/app.js", READ, dashboard_answer},
    {"/icon.svg", READ, dashboard_answer},
    {"/theme.js", READ, dashboard_answer},
    {"/resources", READ, resources_answer},
    {"/healthz", READ | HEALTH, health_answer},
    {"/readyz", READ | HEALTH, ready_answer},
    {"/metrics", READ | HEALTH, metrics_answer},
    {"/status.json", READ, status_answer},
    {"/clients.json", READ, clients_answer},
    {"/fleet/clients.json", READ, fleet_clients_answer},
    {"/certificates.json", READ, certificates_answer},
    {"/explain", READ, explain_answer},
    {"/acme.json", READ, managed_answer},
    {"/live", READ, live_answer},
    {"/trace", HTTP_GET, trace_answer},
    {"/sessions.json", READ, sessions_answer},
    {"/reload", HTTP_POST, command_post},
    {"/drain", HTTP_POST, command_post},
    {"/stop", HTTP_POST, command_post},
    {"/acme/renew", HTTP_POST, managed_post},
    {"/acme/revoke", HTTP_POST, managed_post},
    {"/acme/rollover", HTTP_POST, managed_post},
    {"/reload/", READ, command_get},
    {"/drain/", READ, command_get},
    {"/stop/", READ, command_get},
    /* clang-format on */
};

/* For operators who explore with curl. */
static void resources_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    char list[1024];
    struct text t = text_of(list, sizeof(list));
    (void)a;
    (void)q;
    text_add(&t, "tls-off " TLS_OFF_VERSION "\n");
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        text_addf(&t, "\n%-5s %s", routes[i].methods & HTTP_POST ? "POST" : "GET", routes[i].path);
    http_reply_line(r, 200, list);
}

static bool path_fits(const struct route *route, const char *path) {
    size_t n = strlen(route->path);
    bool below = n > 1 && route->path[n - 1] == '/';
    return below ? strncmp(path, route->path, n) == 0 && path[n] != 0 : strcmp(path, route->path) == 0;
}

void admin_answer(void *ctx, const struct http_request *q, struct http_reply *r) {
    const struct admin *a = ctx;
    bool health_only = !q->local && a->conf->admin.health_only;
    unsigned known = 0;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!path_fits(&routes[i], q->path) || (health_only && !(routes[i].methods & HEALTH)))
            continue;
        known |= routes[i].methods;
        if (routes[i].methods & q->method) {
            routes[i].answer(ctx, q, r);
            return;
        }
    }
    http_reply_line(r, known ? 405 : 404, known ? "not by this method" : "no such resource; /resources lists them");
    if (known)
        r->allow = known & HTTP_POST ? "POST" : "GET, HEAD";
}
