#include "cli/convert.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "cli/arguments.h"
#include "convert/formats.h"

#define FILE_MOST (1u << 20)

const char convert_usage[] =
    "usage: tls-off convert hitch|stunnel|haproxy|nginx-stream FILE\n"
    "\n"
    "Reads FILE, a configuration of another proxy, and writes one of ours on stdout. What was not taken is a line on\n"
    "stderr and a comment at the head of the result: \"not taken\" changes who is served, or how; \"not needed\" has no\n"
    "meaning here. FILE \"-\" is standard input. Look at the result, and check it: tls-off check tls-off.toml\n"
    "\n"
    "Exit status: 0 everything that counts was taken, 1 something was not, or FILE is no such configuration, 2 wrong\n"
    "usage.\n";

static const struct convert_format *find_format(const char *name) {
    const struct convert_format *f;
    for (size_t i = 0; (f = convert_format_at(i)); i++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

/* The file, to be freed; NULL after a line on stderr. */
static char *read_input(const char *name, size_t *ret_len) {
    char *bytes = malloc(FILE_MOST + 1);
    ssize_t n = bytes ? input_read_all(name, bytes, FILE_MOST + 1) : -1;
    bool large = n > FILE_MOST;
    if (n < 0 || large) {
        fprintf(stderr, "tls-off convert: %s: %s\n", name,
                large ? "found more than 1 MiB, expected a configuration" : strerror(errno));
        free(bytes);
        bytes = NULL;
    }
    *ret_len = n > 0 ? (size_t)n : 0;
    return bytes;
}

/* Where relative names start: the directory of the file, or the one we are in. */
static bool directory_of(const char *name, char to[static PATH_MAX]) {
    const char *slash = strrchr(name, '/');
    char dir[PATH_MAX];
    struct text t = text_of(dir, sizeof(dir));
    if (slash)
        text_add_span(&t, span_of(name, slash == name ? 1 : (size_t)(slash - name)));
    else
        text_add(&t, ".");
    return !t.cut && realpath(dir, to);
}

static int convert(const struct convert_format *format, const char *name, struct span bytes, const char *dir) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    struct model m;
    model_init(&m, strcmp(name, INPUT_STDIN) == 0 ? "stdin" : name, dir);
    int status = format->read(&m, bytes, &why) == 0 ? 0 : 1;
    if (status) {
        fprintf(stderr, "tls-off convert: %s: %s\n", name, line);
    } else {
        model_finish(&m);
        model_write_notes(&m, stderr);
        if (m.nservices)
            model_write(&m, stdout);
        else
            fprintf(stderr, "tls-off convert: %s: found nothing that accepts TLS, so there is nothing to write\n", name);
        status = m.nservices && !m.lost ? 0 : 1;
    }
    model_fini(&m);
    return status;
}

int cmd_convert(const struct arguments *a) {
    const struct convert_format *format = find_format(arguments_operand(a, 0));
    const char *file = arguments_operand(a, 1);
    if (!file[0])
        return arguments_refuse(a, "found an empty name, expected FILE");
    size_t n;
    char dir[PATH_MAX], *bytes = read_input(file, &n);
    if (bytes && !directory_of(file, dir)) {
        fprintf(stderr, "tls-off convert: %s: %s\n", file, strerror(errno));
        free(bytes);
        return 1;
    }
    if (!bytes)
        return 1;
    int status = convert(format, file, span_of(bytes, n), dir);
    free(bytes);
    return status;
}
