#include "http_out/curl_lib.h"

#include "base/dlopen.h"
#include "base/err.h"

struct curl_lib curl_lib;

int curl_lib_load(struct text *why) {
    struct dlopen_table l;
    int err = dlopen_open("libcurl.so.4", &l, why);
    if (err < 0)
        return err;
#define FIND(name) dlopen_find(&l, "curl_" #name, &curl_lib.name, sizeof(curl_lib.name), why);
    CURL_FUNCTIONS(FIND)
#undef FIND
    if (l.ok && curl_lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        text_add(why, "libcurl cannot be set up");
        l.ok = false;
    }
    return l.ok ? 0 : ERR_UNSUPPORTED;
}
