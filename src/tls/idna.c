/*
 * libidn2 is opened when the first name that needs it is met, which is rare and only happens in the config role: linked, it and
 * the 2 MB of Unicode tables behind it would be mapped and relocated in every relay.
 */
#include "tls/idna.h"

#include <idn2.h>
#include <stdbool.h>
#include <string.h>

#include "base/dlopen.h"
#include "base/err.h"
#include "base/text.h"

static struct {
    bool tried, ok;
    __typeof__(idn2_to_ascii_8z) *to_ascii;
    __typeof__(idn2_free) *release;
} lib;

static bool open_lib(void) {
    struct dlopen_table l;
    char line[256];
    struct text why = text_of(line, sizeof(line)); /* callers have their own message */
    if (lib.tried)
        return lib.ok;
    lib.tried = true;
    if (dlopen_open("libidn2.so.0", &l, &why) < 0)
        return false;
    dlopen_find(&l, "idn2_to_ascii_8z", &lib.to_ascii, sizeof(lib.to_ascii), &why);
    dlopen_find(&l, "idn2_free", &lib.release, sizeof(lib.release), &why);
    lib.ok = l.ok;
    return lib.ok;
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
