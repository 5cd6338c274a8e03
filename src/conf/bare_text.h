/*
 * A text that stands in the file without its quotes ("mode = passthrough"). What the TOML library says of it names neither it
 * nor its key, and often the wrong kind of value.
 */
#pragma once

#include "conf/loader.h"

struct bare_text {
    struct toml_pos at;
    char key[CONF_KEY_TEXT_MAX]; /* with its section; "" = not known */
    char word[64];               /* cut */
};

/* Whether there is one at the place of FAULT, what toml_read() says of the LEN bytes of TEXT. */
bool bare_text_find(const char *text, size_t len, const struct toml_fault *fault, struct bare_text *ret);
