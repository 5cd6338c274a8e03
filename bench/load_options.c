#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static const char usage[] =
    "usage: load echo|connect|down|up|idle|web --port N [--connections N] [--active N] [--size BYTES] [--seconds S]\n"
    "            [--count N] [--rate PER_SECOND] [--plain|--tls12|--lean] [--cipher NAME] [--resume] [--identity PEM]\n"
    "\n"
    "Connects, passes a little traffic, prints {\"ready\":true} and waits for a line. Then works and prints one line of\n"
    "JSON. Its connections stay open until the next line. --lean: a client of TLS 1.3 that is cheaper than any server.\n";

static const struct option flags[] = {
    {"port", required_argument, NULL, 'p'},     {"connections", required_argument, NULL, 'c'},
    {"active", required_argument, NULL, 'a'},   {"size", required_argument, NULL, 's'},
    {"seconds", required_argument, NULL, 't'},  {"count", required_argument, NULL, 'n'},
    {"rate", required_argument, NULL, 'r'},     {"cipher", required_argument, NULL, 'x'},
    {"plain", no_argument, NULL, 'P'},          {"tls12", no_argument, NULL, '2'},
    {"resume", no_argument, NULL, 'R'},         {"lean", no_argument, NULL, 'l'},
    {"identity", required_argument, NULL, 'i'}, {NULL, 0, NULL, 0},
};

static bool read_number(const char *text, uint64_t max, uint64_t *ret_n) {
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (end == text || *end || n > max || text[0] == '-')
        return false;
    *ret_n = n;
    return true;
}

static bool read_real(const char *text, double *ret_x) {
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || !(x >= 0))
        return false;
    *ret_x = x;
    return true;
}

static bool read_flag(struct options *o, int flag, const char *value) {
    uint64_t n = 0;
    bool good = true;
    switch (flag) {
    case 'p':
        good = read_number(value, 65535, &n);
        o->port = (uint32_t)n;
        break;
    case 'c':
        good = read_number(value, 100000, &n);
        o->connections = (uint32_t)n;
        break;
    case 'a':
        good = read_number(value, 100000, &n);
        o->active = (uint32_t)n;
        break;
    case 's':
        good = read_number(value, 1ull << 40, &o->size);
        break;
    case 'n':
        good = read_number(value, 1ull << 40, &o->count);
        break;
    case 't':
        good = read_real(value, &o->seconds);
        break;
    case 'r':
        good = read_real(value, &o->rate);
        break;
    case 'x':
        o->cipher = value;
        break;
    case 'P':
        o->tls = TLS_NONE;
        break;
    case '2':
        o->tls = TLS_LIBSSL_1_2;
        break;
    case 'l':
        o->tls = TLS_LEAN;
        break;
    case 'i':
        o->identity = value;
        break;
    case 'R':
        o->resume = true;
        break;
    default:
        good = false;
    }
    return good;
}

static bool read_mode(const char *text, enum mode *ret_mode) {
    static const char *const names[] = {
        [MODE_ECHO] = "echo", [MODE_CONNECT] = "connect", [MODE_DOWN] = "down",
        [MODE_UP] = "up",     [MODE_IDLE] = "idle",       [MODE_WEB] = "web",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *ret_mode = (enum mode)i;
            return true;
        }
    return false;
}

bool options_read(int argc, char **argv, struct options *ret_options) {
    struct options o = {.connections = 1, .size = 100, .seconds = 1, .tls = TLS_LIBSSL_1_3};
    int flag;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1)
        if (!read_flag(&o, flag, optarg)) {
            fputs(usage, stderr);
            return false;
        }
    if (optind + 1 != argc || !read_mode(argv[optind], &o.mode) || !o.port || !o.connections || o.size < COMMAND_LEN) {
        fputs(usage, stderr);
        return false;
    }
    if (!o.active || o.active > o.connections)
        o.active = o.connections;
    *ret_options = o;
    return true;
}
