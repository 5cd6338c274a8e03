/* What the services of a configuration claim: names given, names of certificates, the rest. */
#include "conf/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ALPN(s)       span_of(s, sizeof(s) - 1)
#define MOST_SERVICES 4

static uint16_t here[] = {1}, everywhere[] = {0, 1};
static const char *h2[] = {"h2"};
static const char *certificates[MOST_SERVICES];
static struct conf_service services[MOST_SERVICES];
static struct conf_listener listeners[] = {{.fallback = CONF_NO_SERVICE}, {.fallback = CONF_NO_SERVICE}};
static struct conf conf = {.services = services, .listeners = listeners, .nlisteners = 2};

static int none(void **state) {
    conf.nservices = 0;
    return 0;
}

static struct conf_service *add(enum service_mode mode, const char *certificate) {
    struct conf_service *s = &services[conf.nservices];
    *s = (struct conf_service){.listeners = here, .nlisteners = 1, .mode = mode};
    certificates[conf.nservices++] = certificate;
    return s;
}

static void each_name(void *ctx, size_t service, void (*take)(void *ctx, const char *name), void *take_ctx) {
    assert_ptr_equal(ctx, certificates);
    assert_int_equal(services[service].mode, MODE_TERMINATE);
    assert_int_equal(services[service].nnames, 0);
    if (certificates[service])
        take(take_ctx, certificates[service]);
}

static struct route_answer ask_at(uint16_t listener, const char *name, struct span alpn) {
    struct route_table *t = routes_make(&conf, each_name, certificates);
    assert_non_null(t);
    const struct route_ask a = {listener, name, alpn};
    struct route_answer got = route_find(t, &a);
    route_table_free(t);
    return got;
}

static uint16_t ask(const char *name) {
    return ask_at(1, name, ALPN("")).service;
}

static void names_of_certificates_then_strangers_then_the_rest(void **state) {
    add(MODE_PASSTHROUGH, NULL);
    add(MODE_TERMINATE, "a.org")->strict_sni = true;
    assert_int_equal(ask("a.org"), 1);
    assert_int_equal(ask("b.org"), 0);
    assert_int_equal(ask(""), 0);
    add(MODE_TERMINATE, "*.org");
    assert_int_equal(ask("a.org"), 1);
    assert_int_equal(ask("b.org"), 2);
    assert_int_equal(ask("b.net"), 2);
    assert_int_equal(ask(""), 2);
}

static void where_all_are_strict_strangers_have_nobody(void **state) {
    add(MODE_TERMINATE, "a.org")->strict_sni = true;
    assert_int_equal(ask("b.org"), ROUTE_NOBODY);
    assert_int_equal(ask(""), ROUTE_NOBODY);
}

static void names_that_are_given_count_alone(void **state) {
    static const char *given[] = {"x.org", "*.y.org", ""};
    struct conf_service *s = add(MODE_TERMINATE, "a.org");
    s->names = given;
    s->nnames = 3;
    add(MODE_PASSTHROUGH, NULL)->names = given + 1;
    services[1].nnames = 0;
    assert_int_equal(ask("x.org"), 0);
    assert_int_equal(ask("b.y.org"), 0);
    assert_int_equal(ask(""), 0);
    assert_int_equal(ask("a.org"), 1); /* its certificate has it, but it is not to serve it */
}

static void passthrough_has_names_too(void **state) {
    static const char *given[] = {"db.org"};
    add(MODE_TERMINATE, "*.org");
    struct conf_service *s = add(MODE_PASSTHROUGH, NULL);
    s->names = given;
    s->nnames = 1;
    assert_int_equal(ask("db.org"), 1);
    assert_int_equal(ask("web.org"), 0);
    assert_int_equal(ask("net"), 0);
}

/* Without names it gets what is no TLS, and no hello. */
static void the_fallback_of_an_address(void **state) {
    static const char *given[] = {"db.org"};
    add(MODE_TERMINATE, "a.org")->strict_sni = true;
    struct conf_service *s = add(MODE_PASSTHROUGH, NULL);
    assert_int_equal(ask("b.org"), 1);
    listeners[1].fallback = 1;
    assert_int_equal(ask("b.org"), ROUTE_NOBODY);
    s->names = given;
    s->nnames = 1;
    assert_int_equal(ask("db.org"), 1);
    listeners[1].fallback = CONF_NO_SERVICE;
}

static void protocols(void **state) {
    struct conf_service *s = add(MODE_TERMINATE, "a.org");
    s->alpn = h2;
    s->nalpn = 1;
    assert_int_equal(ask_at(1, "a.org", ALPN("\1x")).fit, ROUTE_UNFIT);
    assert_int_equal(ask_at(1, "a.org", ALPN("")).fit, ROUTE_OPEN);
    s->match_alpn = h2;
    s->nmatch_alpn = 1;
    assert_int_equal(ask_at(1, "a.org", ALPN("")).fit, ROUTE_UNFIT);
    assert_int_equal(ask_at(1, "a.org", ALPN("\2h2")).fit, ROUTE_SHARED);
    s->mode = MODE_PASSTHROUGH;
    assert_int_equal(ask_at(1, "a.org", ALPN("")).fit, ROUTE_UNFIT);
    s->nmatch_alpn = 0; /* what it says to speak is not looked at */
    assert_int_equal(ask_at(1, "a.org", ALPN("\1x")).fit, ROUTE_OPEN);
}

static void each_address_has_its_own(void **state) {
    add(MODE_TERMINATE, "a.org");
    struct conf_service *s = add(MODE_TERMINATE, "b.org");
    s->listeners = everywhere;
    s->nlisteners = 2;
    assert_int_equal(ask_at(0, "a.org", ALPN("")).service, 1);
    assert_int_equal(ask_at(1, "a.org", ALPN("")).service, 0);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup(f, none)
    const struct CMUnitTest tests[] = {
        CASE(names_of_certificates_then_strangers_then_the_rest),
        CASE(where_all_are_strict_strangers_have_nobody),
        CASE(names_that_are_given_count_alone),
        CASE(passthrough_has_names_too),
        CASE(the_fallback_of_an_address),
        CASE(protocols),
        CASE(each_address_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
