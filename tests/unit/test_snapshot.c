#include "conf/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/snapshot_form.h"
#include "conf_support.h"
#include "snapshot_edit.h"

static const char rich[] =
    "workers = 3\nstate_dir = \"state\"\nengine = \"libcrypto\"\nhandshake = \"auto\"\ntcp_congestion = \"reno\"\ndrain_timeout = \"none\"\nwatch_interval = \"7s\"\n"
    "[tickets]\nsecret_file = \"t.secret\"\n[log]\ntarget = \"/x.log\"\nformat = \"json\"\nlevel = \"error\"\n[debug]\nkeylog = { file = \"k\", clients = [\"192.0.2.7\", \"2001:db8::/32\"], until = \"2001-01-01T00:00:00Z\" }\n"
    "[admin]\nsocket = \"/a.sock\"\nsocket_mode = \"0660\"\nsocket_group = \"root\"\nlisten = \"127.0.0.1:99\"\n"
    "[listener.\"[::1]:0\"]\nbacklog = 7\n[listener.\"unix:/l.sock\"]\nmode = \"0660\"\nowner = \"root\"\ngroup = \"root\"\n[service.b]\nlisten = [\"127.0.0.1:0\", \"[::1]:0\", \"unix:/l.sock\", \"unix:@l\"]\nbackends = [\"unix:/x\", \"unix:@z\", \"tcp:1.2.3.4:80\", \"tcp:db:82\"]\n"
    "certificates = [{ key = \"k\", cert = \"/c\", passphrase = \"p\" }, \"d/\"]\nalpn = [\"h2\", \"http/1.1\"]\nstrict_sni = true\nstarttls = \"postgresql\"\ncancel = \"pass\"\n"
    "names = [\"\", \"*\", \"**.Example.org\", \"_a.b\"]\nmatch_alpn = [\"h2\"]\nunknown = \"reset\"\n"
    "balance = \"client-hash\"\ntruncation = \"reset\"\n"
    "proxy_protocol = {send = \"v2\", accept = \"required\", trust = [\"10.0.0.0/8\", \"::1\", \"unix\"], tlvs = [\"ssl\", \"client-cert\"]}\n"
    "client_auth = {mode = \"required\", ca = \"/ca\", crl = \"crl\", depth = 3, allow = [\"cn:a\", \"ou:b\"]}\n"
    "access = {allow = [\"10.0.0.0/8\"], deny = [\"lists/bad.txt\", \"::1\"], deny_ja4 = [\"t13d*_*_*\"]}\n"
    "limits = {sessions = 1, sessions_per_client = 2, handshakes_per_client_per_second = 3, bytes_per_second_per_client = 4000,"
    "sessions_per_name = 5, handshakes_per_second = 6, handshakes_per_name_per_second = 7, bytes_per_second = 8000, bytes_per_second_per_name = 9000}\n"
    "[service.a]\nlisten = [\"127.0.0.1:9\"]\nbackends = [\"unix:/x\"]\nmode = \"passthrough\"\nmin_version = \"1.3\"\n";

static struct conf *rich_conf(void) {
    struct diagnostics f;
    diagnostics_init(&f);
    struct conf *c = load_text(rich, sizeof(rich) - 1, &f);
    if (f.errors)
        print_error("%s", f.text);
    diagnostics_fini(&f);
    assert_non_null(c);
    c->user = "nobody";
    return c;
}

/* The snapshot's bytes, to be freed. */
static uint8_t *bytes_of(struct conf *c, size_t *ret_len) {
    int fd = -1;
    struct stat st;
    assert_int_equal(snapshot_write(c, &fd), 0);
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *p = malloc((size_t)st.st_size);
    assert_non_null(p);
    assert_int_equal(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
    (void)close(fd);
    *ret_len = (size_t)st.st_size;
    return p;
}

static void assert_same_scalars(const char *scope, const void *a, const void *b) {
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const struct key_row *row = &key_rows[k];
        if (row->size == 0 || strcmp(key_scope(row), scope) != 0)
            continue;
        if (!row->type->is_text) {
            assert_int_equal(scalar_number(row, a), scalar_number(row, b));
            continue;
        }
        const char *x = scalar_string(row, a), *y = scalar_string(row, b);
        assert_int_equal(!x, !y);
        if (x)
            assert_string_equal(x, y);
    }
}

static void assert_same_texts(const char *const *a, size_t na, const char *const *b, size_t nb) {
    assert_int_equal(na, nb);
    for (size_t i = 0; i < na; i++)
        assert_string_equal(a[i], b[i]);
}

static void assert_same_service(const struct conf_service *a, const struct conf_service *b) {
    assert_string_equal(a->name, b->name);
    assert_same_scalars("service.*", a, b);
    assert_same_texts(a->deny_ja4, a->ndeny_ja4, b->deny_ja4, b->ndeny_ja4);
    assert_int_equal(a->nlisteners, b->nlisteners);
    assert_memory_equal(a->listeners, b->listeners, a->nlisteners * sizeof(*a->listeners));
    assert_int_equal(a->nbackends, b->nbackends);
    for (size_t i = 0; i < a->nbackends; i++) {
        assert_int_equal(a->backends[i].kind, b->backends[i].kind);
        assert_string_equal(a->backends[i].text, b->backends[i].text);
        assert_string_equal(a->backends[i].path, b->backends[i].path);
        assert_int_equal(a->backends[i].port, b->backends[i].port);
        assert_int_equal(a->backends[i].is_name, b->backends[i].is_name);
        assert_memory_equal(&a->backends[i].addr, &b->backends[i].addr, sizeof(a->backends[i].addr));
    }
    assert_same_texts(a->client_allow, a->nclient_allow, b->client_allow, b->nclient_allow);
    assert_same_texts(a->access_allow, a->naccess_allow, b->access_allow, b->naccess_allow);
    assert_same_texts(a->access_deny, a->naccess_deny, b->access_deny, b->naccess_deny);
    assert_same_texts(a->names, a->nnames, b->names, b->nnames);
    assert_same_texts(a->match_alpn, a->nmatch_alpn, b->match_alpn, b->nmatch_alpn);
    assert_int_equal(a->ncerts, b->ncerts);
    for (size_t i = 0; i < a->ncerts; i++) {
        assert_string_equal(a->certs[i].cert, b->certs[i].cert);
        assert_int_equal(a->certs[i].key == NULL, b->certs[i].key == NULL);
        assert_int_equal(a->certs[i].passphrase == NULL, b->certs[i].passphrase == NULL);
        if (a->certs[i].passphrase)
            assert_string_equal(a->certs[i].passphrase, b->certs[i].passphrase);
    }
    assert_same_texts(a->alpn, a->nalpn, b->alpn, b->nalpn);
    assert_int_equal(a->nsuites, b->nsuites);
    assert_memory_equal(a->suites, b->suites, a->nsuites * sizeof(*a->suites));
    assert_int_equal(a->ngroups, b->ngroups);
    assert_memory_equal(a->groups, b->groups, a->ngroups * sizeof(*a->groups));
    assert_int_equal(a->nproxy_trust, b->nproxy_trust);
    for (size_t i = 0; i < a->nproxy_trust; i++) {
        assert_int_equal(a->proxy_trust[i].bits, b->proxy_trust[i].bits);
        assert_memory_equal(&a->proxy_trust[i].net, &b->proxy_trust[i].net, sizeof(struct addr));
    }
}

static void test_a_round_trip_keeps_every_field(void **state) {
    struct conf *a = rich_conf(), *b = NULL;
    int fd = -1;
    assert_int_equal(snapshot_write(a, &fd), 0);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    assert_int_equal(snapshot_read(fd, &b, NULL), 0);
    (void)close(fd);
    assert_same_scalars("", a, b);
    assert_true(b->drain_ms == CONF_NEVER);
    assert_string_equal(a->log_file, b->log_file);
    assert_string_equal(a->keylog.file, b->keylog.file);
    assert_int_equal(b->keylog.nclients, 2);
    assert_memory_equal(a->keylog.clients, b->keylog.clients, 2 * sizeof(struct cidr));
    assert_true(a->keylog.until_s == b->keylog.until_s);
    assert_string_equal(a->admin.socket, b->admin.socket);
    assert_true(a->admin.socket_given && b->admin.socket_given);
    assert_memory_equal(&a->admin.listen, &b->admin.listen, sizeof(struct addr));
    assert_int_equal(a->nlisteners, b->nlisteners);
    for (size_t i = 0; i < a->nlisteners; i++) {
        const struct conf_listener *x = &a->listeners[i], *y = &b->listeners[i];
        assert_string_equal(x->name, y->name);
        assert_memory_equal(&x->addr, &y->addr, sizeof(x->addr));
        assert_string_equal(x->path ? x->path : "", y->path ? y->path : "");
        assert_same_scalars("listener.*", x, y);
        assert_int_equal(x->nservices, y->nservices);
        assert_memory_equal(x->services, y->services, x->nservices * sizeof(*x->services));
        assert_int_equal(x->proxy_accept, y->proxy_accept);
        assert_int_equal(x->nproxy_trust, y->nproxy_trust);
        assert_int_equal(x->handshake_ms, y->handshake_ms);
    }
    assert_int_equal(a->nservices, b->nservices);
    for (size_t i = 0; i < a->nservices; i++)
        assert_same_service(&a->services[i], &b->services[i]);
    conf_free(a);
    conf_free(b);
}

static void test_a_cut_at_any_byte_is_refused(void **state) {
    struct conf *a = rich_conf(), *b = NULL;
    size_t n;
    uint8_t *bytes = bytes_of(a, &n);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *part = malloc(cut ? cut : 1); /* exact, so that ASan sees a read past the end */
        assert_non_null(part);
        memcpy(part, bytes, cut);
        assert_int_equal(snapshot_parse(span_of(part, cut), &b, NULL), ERR_FORMAT);
        free(part);
    }
    uint8_t *longer = malloc(n + 1);
    assert_non_null(longer);
    memcpy(longer, bytes, n);
    longer[n] = 0;
    assert_int_equal(snapshot_parse(span_of(longer, n + 1), &b, NULL), ERR_FORMAT);
    assert_int_equal(snapshot_parse(span_of(longer, n), &b, NULL), 0);
    conf_free(b);
    free(longer);
    free(bytes);
    conf_free(a);
}

/* Whatever is taken is whole: it can be written again, and is then the same as before. */
static void assert_whole(struct conf *c) {
    struct conf *again = NULL;
    size_t n, m;
    uint8_t *first = bytes_of(c, &n);
    assert_int_equal(snapshot_parse(span_of(first, n), &again, NULL), 0);
    uint8_t *second = bytes_of(again, &m);
    assert_int_equal(n, m);
    assert_memory_equal(first, second, n);
    free(first);
    free(second);
    conf_free(again);
}

/* All bits of the snapshot of a build with our keys, then of another one. */
static void test_flipped_bits_do_no_harm(void **state) {
    struct conf *a = rich_conf();
    size_t n;
    uint8_t *bytes = bytes_of(a, &n);
    for (unsigned foreign = 0; foreign < 2; foreign++) {
        size_t taken = 0;
        bytes[EDIT_HEAD - 5] ^= (uint8_t)foreign; /* the sum of the keys */
        for (size_t bit = 0; bit < n * 8; bit++) {
            char line[256];
            struct text why = text_of(line, sizeof(line));
            struct conf *b = NULL;
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            int err = snapshot_parse(span_of(bytes, n), &b, &why);
            if (err == 0) {
                assert_whole(b);
                conf_free(b);
                taken++;
            } else if (bit >= 32 && bit < 64) {
                assert_int_equal(err, ERR_UNSUPPORTED); /* another form */
            } else {
                assert_true(err == ERR_FORMAT || (foreign && err == ERR_UNSUPPORTED));
            }
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_in_range(taken, 1, n * 8 - 1);
    }
    free(bytes);
    conf_free(a);
}

/* ---- other builds ---- */

/* Parses A, edited by E, as the snapshot of a build with other keys, or with ours. WHY may be NULL. */
static int parse_edited(struct conf *a, bool foreign, struct edit *e, struct conf **ret, struct text *why) {
    size_t n, m;
    uint8_t *bytes = bytes_of(a, &n), *edited = edit_snapshot(span_of(bytes, n), foreign, e, &m);
    uint8_t *exact = malloc(m);
    assert_non_null(exact);
    memcpy(exact, edited, m);
    int err = snapshot_parse(span_of(exact, m), ret, why);
    free(exact);
    free(edited);
    free(bytes);
    return err;
}

static void assert_same_conf(const struct conf *a, const struct conf *b) {
    assert_same_scalars("", a, b);
    assert_int_equal(a->nlisteners, b->nlisteners);
    for (size_t i = 0; i < a->nlisteners; i++)
        assert_same_scalars("listener.*", &a->listeners[i], &b->listeners[i]);
    assert_int_equal(a->nservices, b->nservices);
    for (size_t i = 0; i < a->nservices; i++)
        assert_same_service(&a->services[i], &b->services[i]);
}

/* Where a later build may have more: in front of these. */
static const char *const places[][3] = {
    {"workers"},
    {"service"},
    {"tickets.secret_files"},
    {"listener", "address"},
    {"listener", "v6only"},
    {"service", "name"},
    {"service", "alpn"},
    {"service", "limits.sessions"},
    {"service", "backends", "address"},
    {"service", "certificates", "files"},
};

static struct edit edit_at(const char *const path[static 3], int how) {
    struct edit e = {.how = 0};
    memcpy(e.path, path, sizeof(e.path));
    e.how = (__typeof__(e.how))how;
    return e;
}

static void test_unknown_entries_are_passed_over(void **state) {
    struct conf *a = rich_conf();
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct conf *b = NULL;
        struct edit e = edit_at(places[i], EDIT_ADD);
        e.name = "a_key_of_tomorrow";
        e.type = (uint8_t)(1 + i % 4); /* and types of tomorrow */
        e.value = span_str("whatever");
        assert_int_equal(parse_edited(a, true, &e, &b, NULL), 0);
        assert_true(e.met);
        assert_same_conf(a, b);
        assert_whole(b);
        conf_free(b);
        assert_int_equal(parse_edited(a, false, &e, &b, NULL), ERR_FORMAT); /* with our keys there can be none */
    }
    conf_free(a);
}

static void test_what_must_be_understood_is_refused_by_name(void **state) {
    static const char *const named[] = {
        "new",         "new",         "new",         "listener.new",         "listener.new",
        "service.new", "service.new", "service.new", "service.backends.new", "service.certificates.new"};
    struct conf *a = rich_conf();
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char line[64];
        struct text why = text_of(line, sizeof(line));
        struct conf *b = NULL;
        struct edit e = edit_at(places[i], EDIT_ADD);
        e.name = "new";
        e.type = 1 | EDIT_MUST;
        assert_int_equal(parse_edited(a, true, &e, &b, &why), ERR_UNSUPPORTED);
        assert_string_equal(line, named[i]);
        assert_int_equal(parse_edited(a, true, &e, &b, NULL), ERR_UNSUPPORTED);
        assert_null(b);
    }
    conf_free(a);
}

static const char *scope_list(const struct key_row *row) {
    return key_scope(row)[0] == 's' ? "service" : key_scope(row)[0] ? "listener" : NULL;
}

/* The entry of a row of the table. */
static struct edit edit_row(const struct key_row *row, int how) {
    const char *list = scope_list(row), *name = row->path + (list ? strlen(key_scope(row)) + 1 : 0);
    const char *path[3] = {list ? list : name, list ? name : NULL};
    return edit_at(path, how);
}

static void *base_of(const struct key_row *row, struct conf *c) {
    return key_scope(row)[0] == 's' ? &c->services[0] : key_scope(row)[0] ? (void *)&c->listeners[0] : c;
}

static bool is_default(const struct key_row *row, const void *base) {
    if (!row->type->is_text)
        return scalar_number(row, base) == row->number;
    const char *s = scalar_string(row, base);
    return s == row->text || (s && row->text && strcmp(s, row->text) == 0);
}

/* Of every key of the table, no matter who adds it: an older build does not have it. */
static void test_missing_scalars_have_their_default(void **state) {
    static const char *const others_need_them[] = {"workers",          "state_dir",  "buffer_memory",
                                                   "handshake_memory", "log.target", "service.*.client_auth.ca"};
    struct conf *a = rich_conf();
    unsigned n = 0;
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const struct key_row *row = &key_rows[k];
        struct edit e = edit_row(row, EDIT_DROP);
        struct conf *b = NULL, *none = NULL;
        bool needed = false;
        if (row->size == 0)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(others_need_them); i++)
            needed = needed || strcmp(row->path, others_need_them[i]) == 0;
        int err = parse_edited(a, true, &e, &b, NULL);
        assert_true(e.met);
        assert_int_equal(parse_edited(a, false, &e, &none, NULL), ERR_FORMAT);
        if (err != 0) {
            assert_int_equal(err, ERR_UNSUPPORTED);
            if (!needed)
                fail_msg("%s cannot be missing", row->path);
            continue;
        }
        assert_true(is_default(row, base_of(row, b)));
        assert_string_equal(b->services[0].name, a->services[0].name);
        conf_free(b);
        n++;
    }
    assert_true(n > 40);
    conf_free(a);
}

static void test_missing_lists_are_empty_or_refused(void **state) {
    static const struct {
        const char *path[3];
        bool needed;
    } rows[] = {
        {{"service", "names"}, false},
        {{"service", "alpn"}, false},
        {{"service", "access.deny"}, false},
        {{"admin.listen"}, false},
        {{"tickets.secret_files"}, false},
        {{"acme.issuer"}, false},
        {{"listener"}, true},
        {{"service"}, true},
        {{"service", "backends"}, true},
        {{"service", "cipher_suites"}, true},
        {{"service", "name"}, true},
        {{"listener", "address"}, true},
        {{"service", "backends", "address"}, true},
    };
    struct conf *a = rich_conf();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf *b = NULL;
        struct edit e = edit_at(rows[i].path, EDIT_DROP);
        assert_int_equal(parse_edited(a, true, &e, &b, NULL), rows[i].needed ? ERR_UNSUPPORTED : 0);
        assert_true(e.met);
        conf_free(b);
        b = NULL;
        assert_int_equal(parse_edited(a, false, &e, &b, NULL), ERR_FORMAT);
    }
    conf_free(a);
}

static void test_repeated_entries_are_refused(void **state) {
    struct conf *a = rich_conf(), *b = NULL;
    for (unsigned foreign = 0; foreign < 2; foreign++) {
        for (size_t i = 0; i < ARRAY_LEN(places); i++) {
            struct edit e = edit_at(places[i], EDIT_TWICE);
            assert_int_equal(parse_edited(a, foreign, &e, &b, NULL), ERR_FORMAT);
            assert_true(e.met);
        }
        for (size_t k = 0; k < KEY_COUNT; k++) {
            struct edit e = edit_row(&key_rows[k], EDIT_TWICE);
            if (key_rows[k].size)
                assert_int_equal(parse_edited(a, foreign, &e, &b, NULL), ERR_FORMAT);
        }
    }
    conf_free(a);
}

/* Also between builds that have the same keys in another order. */
static void test_the_order_of_entries_is_free(void **state) {
    struct conf *a = rich_conf();
    for (unsigned foreign = 0; foreign < 2; foreign++) {
        struct conf *b = NULL;
        struct edit e = {.path = {"service", "backends", "address"}, .reversed = true};
        assert_int_equal(parse_edited(a, foreign, &e, &b, NULL), 0);
        assert_same_conf(a, b);
        conf_free(b);
    }
    conf_free(a);
}

static void test_a_value_of_another_kind_is_named(void **state) {
    static const uint8_t wide[] = {0, 0, 0, 0, 0, 0, 0, 3}, large[] = {1, 0, 0, 0, 0, 0, 0, 3}, long_one[9] = {0},
                         word[] = {200};
    static const struct {
        const char *path[3], *named;
        struct span value;
        uint8_t type; /* 0: as it is */
        int err;
    } rows[] = {
        {{"workers"}, NULL, {wide, sizeof(wide)}, 0, 0}, /* grew, and fits */
        {{"workers"}, "workers", {large, sizeof(large)}, 0, ERR_UNSUPPORTED},
        {{"workers"}, "workers", {long_one, sizeof(long_one)}, 0, ERR_UNSUPPORTED},
        {{"service", "starttls"}, "service.starttls", {word, sizeof(word)}, 0, ERR_UNSUPPORTED},
        {{"service", "starttls"}, "service.starttls", {NULL, 0}, ENTRY_TEXT, ERR_UNSUPPORTED},
        {{"listener", "device"}, "listener.device", {NULL, 0}, ENTRY_NUMBER, ERR_UNSUPPORTED},
        {{"service", "backends", "address"}, "service.backends.address", {word, sizeof(word)}, 0, ERR_UNSUPPORTED},
    };
    struct conf *a = rich_conf();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char line[64];
        struct text why = text_of(line, sizeof(line));
        struct conf *b = NULL;
        struct edit e = edit_at(rows[i].path, rows[i].type ? EDIT_RETYPE : EDIT_VALUE);
        e.type = rows[i].type;
        e.value = rows[i].value;
        assert_int_equal(parse_edited(a, true, &e, &b, &why), rows[i].err);
        assert_string_equal(line, rows[i].named ? rows[i].named : "");
        if (rows[i].err == 0)
            assert_int_equal(b->workers, 3);
        conf_free(b);
        b = NULL;
        assert_int_equal(parse_edited(a, false, &e, &b, NULL), rows[i].err ? ERR_FORMAT : 0);
        conf_free(b);
    }
    conf_free(a);
}

/* What is asked for says so, and what is not asked for stands in nobody's way. */
static void test_a_default_need_not_be_understood(void **state) {
    unsigned n = 0;
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const struct key_row *row = &key_rows[k];
        if (row->size == 0)
            continue;
        for (unsigned set = 0; set < 2; set++) {
            struct conf *a = rich_conf(), *b = NULL;
            struct edit e = edit_row(row, EDIT_RENAME);
            e.name = "of_tomorrow";
            if (!set && row->type->is_text)
                scalar_set_string(row, base_of(row, a), row->text);
            else if (!set)
                scalar_set_number(row, base_of(row, a), row->number);
            else if (row->type->is_text)
                scalar_set_string(row, base_of(row, a), "/x");
            else
                scalar_set_number(row, base_of(row, a), row->number + 1);
            int err = parse_edited(a, true, &e, &b, NULL);
            assert_int_equal(e.was & EDIT_MUST, row->must_understand && set ? EDIT_MUST : 0);
            if (row->must_understand && set)
                assert_int_equal(err, ERR_UNSUPPORTED);
            n += row->must_understand;
            conf_free(b);
            conf_free(a);
        }
    }
    assert_true(n > 20);
}

/* A list of more entries than a block may have. */
static void test_too_many_entries_are_refused(void **state) {
    static uint8_t entries[300 * 8];
    struct wr w = wr_of(entries, sizeof(entries));
    struct conf *a = rich_conf(), *b = NULL;
    size_t n;
    uint8_t *bytes = bytes_of(a, &n);
    for (unsigned i = 0; i < 300; i++) {
        const uint8_t name[] = {(uint8_t)('a' + i / 26), (uint8_t)('a' + i % 26)};
        edit_put(&w, span_of(name, sizeof(name)), 1, span_of(NULL, 0));
    }
    assert_true(wr_end(&w));
    uint8_t *all = malloc(n + w.len);
    assert_non_null(all);
    memcpy(all, bytes, n);
    memcpy(all + n, entries, w.len);
    struct wr length = wr_of(all + 12, 4);
    wr_u32(&length, (uint32_t)(n + w.len - EDIT_HEAD));
    all[8] ^= 1;
    assert_int_equal(snapshot_parse(span_of(all, n + w.len), &b, NULL), ERR_UNSUPPORTED);
    free(all);
    free(bytes);
    conf_free(a);
}

/* Each is one thing that the loader never makes. */
static void break_conf(struct conf *c, unsigned how) {
    struct conf_service *s = &c->services[0];
    switch (how) {
    case 0:
        c->workers = 0;
        break;
    case 1:
        c->workers = WORKERS_MAX + 1;
        break;
    case 2:
        c->state_dir = "relative";
        break;
    case 3:
        c->log_file = NULL;
        break;
    case 4:
        s->listeners[0] = (uint16_t)c->nlisteners;
        break;
    case 5:
        s->nsuites = 0;
        break;
    case 6:
        s->ngroups = 0;
        break;
    case 7:
        s->ncerts = 0;
        break;
    case 8:
        s->nbackends = 0;
        break;
    case 9:
        s->min_version = 0x0301;
        break;
    case 10:
        s->backends[2].port = 0;
        break;
    case 11:
        s->backends[0].path = "relative.sock";
        break;
    case 12:
        s->proxy_trust[0].net.ip[3] = 1;
        break;
    case 13:
        s->nproxy_trust = 0;
        break;
    case 14:
        s->proxy_trust[1].bits = 129;
        break;
    case 15:
        c->nservices = 0;
        break;
    case 16:
        c->listeners[0].addr.family = AF_UNIX;
        break;
    case 17:
        s->name = "";
        break;
    case 18:
        c->engine = NULL;
        break;
    case 19:
        s->backends[2].addr.port++;
        break;
    case 20:
        c->admin.socket = "relative.sock";
        break;
    case 21:
        c->admin.rights.mode = 0755;
        break;
    case 22:
        c->ticket_secrets[0] = "relative";
        break;
    case 23:
        s->client_ca = NULL;
        break;
    case 24:
        s->client_crl = "relative";
        break;
    case 25:
        s->client_depth = CONF_CLIENT_DEPTH_MAX + 1;
        break;
    case 26:
        c->listeners[0].path = "relative.sock";
        break;
    case 27:
        c->listeners[0].path = "@";
        break;
    case 28:
        c->listeners[0].rights.mode = 0777;
        break;
    case 29:
        c->listeners[0].addr.scope = 1; /* of an address that has none */
        break;
    case 30:
        s->backends[2].addr.scope = 1;
        break;
    default:
        c->buffer_memory = 0;
    }
}

static void break_keylog(struct conf *c, unsigned how) {
    if (how == 32)
        c->keylog.file = "relative";
    else if (how == 33)
        c->keylog.nclients = 0;
    else
        c->keylog.until_s = 0;
}

static void test_values_that_make_no_sense_are_refused(void **state) {
    for (unsigned how = 0; how <= 34; how++) {
        struct conf *a = rich_conf(), *b = NULL;
        int fd = -1;
        (how <= 31 ? break_conf : break_keylog)(a, how);
        assert_int_equal(snapshot_write(a, &fd), 0);
        assert_int_equal(snapshot_read(fd, &b, NULL), ERR_FORMAT);
        (void)close(fd);
        conf_free(a);
    }
}

/* A number that the key may not have; false when it may have all of its size. */
static bool unfit_number(const struct key_row *row, uint64_t *ret) {
    const uint64_t tries[] = {row->max + 1, row->min - 1, 0, 255, 2};
    const uint64_t all = row->size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * row->size) - 1;
    for (size_t i = 0; i < ARRAY_LEN(tries); i++)
        if (tries[i] <= all && !scalar_number_fits(row, tries[i])) {
            *ret = tries[i];
            return true;
        }
    return false;
}

/* Every key of the table, those added later included. */
static void test_scalars_out_of_bounds_are_refused(void **state) {
    char long_text[PATH_MAX + 1];
    unsigned numbers = 0, texts = 0;
    memset(long_text, 'x', PATH_MAX);
    long_text[PATH_MAX] = 0;
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const struct key_row *row = &key_rows[k];
        struct conf *a = rich_conf(), *b = NULL;
        void *base = key_scope(row)[0] == 's' ? &a->services[0] : key_scope(row)[0] ? (void *)&a->listeners[0] : a;
        uint64_t v = 0;
        int fd = -1;
        if (row->size && row->type->is_text) {
            scalar_set_string(row, base, long_text); /* no absolute path either */
            texts++;
        } else if (row->size && unfit_number(row, &v)) {
            scalar_set_number(row, base, v);
            numbers++;
        } else {
            conf_free(a);
            continue;
        }
        assert_int_equal(snapshot_write(a, &fd), 0);
        if (snapshot_read(fd, &b, NULL) != ERR_FORMAT)
            fail_msg("%s is not refused", row->path);
        (void)close(fd);
        conf_free(a);
    }
    assert_true(numbers > 20 && texts > 5);
}

static void test_descriptors_that_are_no_snapshot(void **state) {
    struct conf *c = NULL;
    int fd = memfd_create("empty", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(snapshot_read(fd, &c, NULL), ERR_FORMAT);
    assert_int_equal(ftruncate(fd, SNAPSHOT_MAX), 0);
    assert_int_equal(snapshot_read(fd, &c, NULL), ERR_FORMAT);
    assert_int_equal(ftruncate(fd, SNAPSHOT_MAX + 1), 0);
    assert_int_equal(snapshot_read(fd, &c, NULL), ERR_LIMIT);
    (void)close(fd);
    assert_int_equal(snapshot_read(fd, &c, NULL), ERR_SYSTEM);
    assert_int_equal(errno, EBADF);
    assert_null(c);
}

static void test_a_conf_too_large_is_not_written(void **state) {
    struct conf *c = rich_conf();
    struct conf_service *s = &c->services[0];
    char *name = conf_alloc(c, 4001);
    int fd = -1;
    memset(name, '/', 4000);
    s->nnames = SNAPSHOT_MAX / 4000;
    s->names = conf_alloc(c, s->nnames * sizeof(*s->names));
    for (size_t i = 0; i < s->nnames; i++)
        s->names[i] = name;
    assert_int_equal(snapshot_write(c, &fd), ERR_LIMIT);
    assert_int_equal(fd, -1);
    conf_free(c);
}

static ssize_t next_write;
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __real_write(int fd, const void *p, size_t n);

/* -1: fails; more than 0: that many bytes at the most. */
ssize_t __wrap_write(int fd, const void *p, size_t n) {
    if (next_write < 0) {
        errno = ENOSPC;
        return -1;
    }
    return __real_write(fd, p, next_write && (size_t)next_write < n ? (size_t)next_write : n);
}

static void test_short_and_failed_writes(void **state) {
    struct conf *a = rich_conf(), *b = NULL;
    int fd = -1;
    next_write = 7;
    assert_int_equal(snapshot_write(a, &fd), 0);
    next_write = 0;
    assert_int_equal(snapshot_read(fd, &b, NULL), 0);
    assert_int_equal(b->nservices, a->nservices);
    (void)close(fd);
    fd = -1;
    next_write = -1;
    assert_int_equal(snapshot_write(a, &fd), ERR_SYSTEM);
    next_write = 0;
    assert_int_equal(fd, -1);
    conf_free(a);
    conf_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_round_trip_keeps_every_field),
        cmocka_unit_test(test_a_cut_at_any_byte_is_refused),
        cmocka_unit_test(test_flipped_bits_do_no_harm),
        cmocka_unit_test(test_unknown_entries_are_passed_over),
        cmocka_unit_test(test_what_must_be_understood_is_refused_by_name),
        cmocka_unit_test(test_missing_scalars_have_their_default),
        cmocka_unit_test(test_missing_lists_are_empty_or_refused),
        cmocka_unit_test(test_repeated_entries_are_refused),
        cmocka_unit_test(test_the_order_of_entries_is_free),
        cmocka_unit_test(test_a_value_of_another_kind_is_named),
        cmocka_unit_test(test_a_default_need_not_be_understood),
        cmocka_unit_test(test_too_many_entries_are_refused),
        cmocka_unit_test(test_values_that_make_no_sense_are_refused),
        cmocka_unit_test(test_descriptors_that_are_no_snapshot),
        cmocka_unit_test(test_a_conf_too_large_is_not_written),
        cmocka_unit_test(test_short_and_failed_writes),
        cmocka_unit_test(test_scalars_out_of_bounds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
