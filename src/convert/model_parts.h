/* What a model is made of, for the files that are the model. */
#pragma once

#include "convert/model.h"

struct model_string {
    struct model_string *next;
    char text[];
};

struct model_note {
    struct model_note *next;
    enum model_loss loss;
    unsigned line;
    const char *text;
};

/* One key: its values as TOML. */
struct model_key {
    struct model_key *next;
    const char *table, *key;
    const char **values;
    size_t n;
    bool is_list;
};

struct model_service {
    struct model_service *next;
    const char *head; /* "service.NAME", "listener.\"ADDRESS\"", or "" */
    unsigned line;    /* where it begins, of a service */
    struct model_key *keys;
    unsigned guard_line; /* that kept clients out and is lost; 0 = none */
    bool refuses;        /* its clients, by that line */
    unsigned drop_line;  /* noted elsewhere; it is not written, and keeps its addresses and names from others; 0 = none */
    unsigned lost_name;  /* line of a name that it has and that cannot be said; 0 = none */
};
