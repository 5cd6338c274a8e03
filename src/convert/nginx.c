/* The stream block of nginx.conf: servers that end TLS, or pass it on by what "ssl_preread" sees. */
#include <string.h>

#include "base/err.h"
#include "convert/nginx_server.h"
#include "convert/readers.h"

static void take_stream(struct nginx *x) {
    struct model_service *none = model_add_service(x->m, "stream", 1); /* has no keys, so it is not written */
    nginx_take_others(x, none, x->stream);
    for (const struct nginx_directive *d = x->stream->children; d; d = d->next)
        if (strcmp(nginx_word(d, 0), "server") == 0)
            nginx_take_server(x, d);
}

/* Addresses of servers that are not taken. */
static void drop_servers(struct nginx *x, const struct nginx_directive *block) {
    for (const struct nginx_directive *d = block->children; d; d = d->next) {
        struct model_service *s = strcmp(nginx_word(d, 0), "server") == 0 ? model_add_service(x->m, "dropped", d->line) : NULL;
        for (const struct nginx_directive *l = s ? d->children : NULL; l; l = l->next)
            if (strcmp(nginx_word(l, 0), "listen") == 0)
                nginx_take_listen(x, s, l);
        if (s)
            model_drop(s, d->line);
    }
}

/* A directive outside of the stream block. */
static void take_main(struct nginx *x, const struct nginx_directive *d) {
    static const char *const unused[] = {"events",
                                         "pid",
                                         "daemon",
                                         "error_log",
                                         "load_module",
                                         "worker_connections",
                                         "worker_priority",
                                         "worker_rlimit_nofile",
                                         "worker_cpu_affinity",
                                         "worker_shutdown_timeout",
                                         "thread_pool",
                                         "env",
                                         "pcre_jit",
                                         "worker_rlimit_core",
                                         "working_directory",
                                         "lock_file",
                                         "timer_resolution",
                                         "debug_points",
                                         "master_process"};
    const char *name = nginx_word(d, 0);
    for (size_t i = 0; i < ARRAY_LEN(unused); i++)
        if (strcmp(name, unused[i]) == 0) {
            model_note(x->m, MODEL_NOT_NEEDED, d->line, "%s: about nginx's own processes", name);
            return;
        }
    if (strcmp(name, "user") == 0)
        model_set_user(x->m, d->line, nginx_word(d, 1));
    else if (strcmp(name, "worker_processes") == 0 && strcmp(nginx_word(d, 1), "auto") != 0)
        model_set_number(x->m, model_top(x->m), d->line, "", "workers", nginx_word(d, 1), MODEL_WORKERS_MAX);
    else if (strcmp(name, "http") == 0 || strcmp(name, "mail") == 0) {
        model_note(x->m, MODEL_NOT_NEEDED, d->line, "the %s block: only streams of bytes are taken", name);
        drop_servers(x, d);
    } else if (strcmp(name, "include") == 0 && !strstr(nginx_word(d, 1), "modules"))
        nginx_lose(x, d, "convert that file, too");
    else if (strcmp(name, "worker_processes") != 0 && strcmp(name, "include") != 0)
        nginx_lose(x, d, NULL);
}

int convert_nginx(struct model *m, struct span bytes, struct text *why) {
    struct nginx_tree t;
    int err = nginx_tree_read(m, bytes, &t, why);
    if (err)
        return err;
    struct nginx_directive whole = {.children = t.first}; /* a file that is included in a stream block has servers itself */
    struct nginx x = {m, NULL};
    bool is_part = false;
    for (const struct nginx_directive *d = t.first; d; d = d->next)
        is_part = is_part || strcmp(nginx_word(d, 0), "server") == 0 || strcmp(nginx_word(d, 0), "upstream") == 0;
    for (struct nginx_directive *d = t.first; d; d = d->next) {
        if (is_part) {
            d->parent = &whole;
        } else if (strcmp(nginx_word(d, 0), "stream") == 0) {
            x.stream = d;
            take_stream(&x);
        } else {
            take_main(&x, d);
        }
    }
    if (is_part) {
        x.stream = &whole;
        take_stream(&x);
    }
    nginx_tree_free(&t);
    return 0;
}
