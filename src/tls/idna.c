/*
 * libidn2 is opened when the first name that needs it is met, which is rare and only happens in the config role: linked, it and
 * the 2 MB of Unicode tables behind it would be mapped and relocated in every relay.
 */
#include "tls/idna.h"

#include <dlfcn.h>
#include <idn2.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"

static struct {
    int (*to_ascii)(const char *in, char **out, int flags);
    void (*release)(void *p);
} lib;

static bool open_lib(void) {
    static bool tried;
    if (tried)
        return lib.to_ascii && lib.release;
    tried = true;
    void *handle = dlopen("libidn2.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return false;
    void *to_ascii = dlsym(handle, "idn2_to_ascii_8z"), *release = dlsym(handle, "idn2_free");
    memcpy(&lib.to_ascii, &to_ascii, sizeof(to_ascii)); /* ISO C knows no cast from data to function */
    memcpy(&lib.release, &release, sizeof(release));
    return lib.to_ascii && lib.release;
}

static bool is_ascii(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] >= 0x80)
            return false;
    return true;
}

int idna_hostname(struct span utf8, char ret[static HOSTNAME_MAX + 1]) {
    if (is_ascii(utf8))
        return hostname_read(utf8, true, ret);
    char in[4 * HOSTNAME_MAX + 1], out[HOSTNAME_MAX + 3];
    struct text name = text_of(out, sizeof(out));
    bool wildcard = span_has_prefix(utf8, "*.");
    struct span labels = wildcard ? span_of(utf8.p + 2, utf8.len - 2) : utf8;
    if (labels.len >= sizeof(in) || memchr(labels.p, 0, labels.len))
        return ERR_FORMAT;
    if (!open_lib())
        return ERR_UNSUPPORTED;
    memcpy(in, labels.p, labels.len);
    in[labels.len] = '\0';
    char *ascii = NULL;
    if (lib.to_ascii(in, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return ERR_FORMAT;
    text_addf(&name, "%s%s", wildcard ? "*." : "", ascii);
    int err = name.cut ? ERR_FORMAT : hostname_read(span_of(out, name.len), wildcard, ret);
    lib.release(ascii);
    return err;
}
