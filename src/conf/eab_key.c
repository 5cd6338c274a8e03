#include "conf/eab_key.h"

#include "base/base64url.h"
#include "base/err.h"
#include "base/file.h"
#include "base/secret.h"

#define EAB_KEY_MIN  32 /* bytes: those of HS256 (RFC 7518 3.2) */
#define EAB_FILE_MAX 4096

int eab_key_read(const char *file, uint8_t to[static EAB_KEY_MAX], size_t *ret_len, struct text *why) {
    struct file f = {.path = file, .expected = "a key in base64url", .max = EAB_FILE_MAX};
    int err = file_open(&f, why);
    if (err < 0)
        return err;
    size_t room = file_room(&f), len = 0;
    uint8_t *bytes = secret_alloc(room, NULL);
    err = file_read(&f, bytes, &len, why);
    file_close(&f);
    if (err == 0) {
        while (len && (bytes[len - 1] == '\n' || bytes[len - 1] == '\r' || bytes[len - 1] == '='))
            len--;
        err = base64url_read(span_of(bytes, len), to, EAB_KEY_MAX, ret_len);
        if (err == 0 && *ret_len < EAB_KEY_MIN)
            err = ERR_FORMAT;
        if (err < 0)
            text_addf(why,
                      "%s: found no key for external account binding, expected one line of base64url, %d to %d bytes of key",
                      file, EAB_KEY_MIN, EAB_KEY_MAX);
    }
    secret_free(bytes, room);
    return err;
}
