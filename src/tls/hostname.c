#include "tls/hostname.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/err.h"

/* Written out, since the locale must not matter. */
static bool is_label_char(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static uint8_t lower_label_byte(uint8_t c) {
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

int hostname_read(struct span text, bool wildcard, char ret[static HOSTNAME_MAX + 1]) {
    size_t len = text.len, i = 0;
    if (len && text.p[len - 1] == '.')
        len--;
    if (len == 0 || len > HOSTNAME_MAX)
        return ERR_FORMAT;
    if (wildcard && len > 2 && text.p[0] == '*' && text.p[1] == '.')
        i = 2;

    bool label_empty = true;
    for (; i < len; i++) {
        bool dot = text.p[i] == '.';
        if (dot ? label_empty : !is_label_char(lower_label_byte(text.p[i])))
            return ERR_FORMAT;
        label_empty = dot;
    }
    if (label_empty)
        return ERR_FORMAT;
    for (i = 0; i < len; i++)
        ret[i] = (char)lower_label_byte(text.p[i]);
    ret[len] = '\0';
    return 0;
}

int hostname_asked(struct span text, char ret[static HOSTNAME_MAX + 1]) {
    char name[HOSTNAME_MAX + 1];
    struct in_addr address;
    int err = hostname_read(text, false, name);
    if (err < 0 || inet_pton(AF_INET, name, &address) == 1)
        return ERR_FORMAT;
    memcpy(ret, name, strlen(name) + 1);
    return 0;
}
