#include "conf/snapshot_acme.h"

#include <string.h>

#include "conf/snapshot_values.h"

/* Words of a choice, each below END. */
static void value_words(struct snapshot_io *io, uint8_t **words, size_t *n, unsigned end) {
    SNAPSHOT_LIST(io, *words, *n, 1, end);
    for (size_t i = 0; i < *n; i++)
        SNAPSHOT_CHOICE(io, (*words)[i], end - 1);
}

/* A name that becomes part of a file's. */
static void value_file_part(struct snapshot_io *io, const char **s) {
    snapshot_needed_text(io, s, 1, CONF_NAME_MAX);
    snapshot_io_refuse_if(io, strchr(*s, '/') || (*s)[0] == '.');
}

static void value_issuer(struct snapshot_io *io, struct conf_issuer *i) {
    const size_t longest = CONF_ACME_TEXT_MAX - 1;
    if (entry_begin(io, "issuer", ENTRY_OTHER | ENTRY_NEEDED)) {
        value_file_part(io, &i->name);
        snapshot_needed_text(io, &i->directory, 1, longest);
        snapshot_texts(io, &i->contact, &i->ncontact, CONF_CONTACTS_MAX, 1, longest);
        value_words(io, &i->challenges, &i->nchallenges, CHALLENGE_TYPES);
        value_words(io, &i->keys, &i->nkeys, MANAGED_KEYS);
        snapshot_needed_text(io, &i->profile, 0, CONF_ACME_PROFILE_MAX);
        SNAPSHOT_CHOICE(io, i->profile_required, 1);
        snapshot_needed_text(io, &i->preferred_chain, 0, longest);
        entry_end(io);
    }
    entry_of_path(io, "ca_file", &i->ca_file);
    if (entry_begin(io, "eab", ENTRY_OTHER)) {
        snapshot_text(io, &i->eab_kid, longest);
        snapshot_path(io, &i->eab_key_file);
        entry_end(io);
    }
    if (entry_begin(io, "hook", ENTRY_OTHER)) {
        snapshot_path(io, &i->hook);
        SNAPSHOT_VALUE(io, i->hook_uid);
        SNAPSHOT_VALUE(io, i->hook_gid);
        entry_end(io);
    }
    if (snapshot_io_bad(io))
        return;
    snapshot_io_refuse_if(io, !i->hook && memchr(i->challenges, CHALLENGE_DNS_01, i->nchallenges));
    snapshot_io_refuse_if(io, strncmp(i->directory, "https://", 8) != 0 || (i->eab_kid == NULL) != (i->eab_key_file == NULL));
}

static void value_managed(struct snapshot_io *io, struct conf_managed *m) {
    if (entry_begin(io, "certificate", ENTRY_OTHER | ENTRY_NEEDED)) {
        value_file_part(io, &m->id);
        snapshot_path(io, &m->dir);
        SNAPSHOT_VALUE(io, m->service);
        SNAPSHOT_CHOICE(io, m->key, MANAGED_KEYS - 1);
        snapshot_texts(io, &m->names, &m->nnames, CONF_ACME_NAMES_MAX, 1, CONF_NAME_MAX);
        snapshot_ids(io, &m->issuers, &m->nissuers, 1, CONF_ISSUERS_MAX);
        for (size_t i = 0; i < m->nissuers; i++)
            snapshot_io_refuse_if(io, m->issuers[i] >= io->conf->acme.nissuers);
        entry_end(io);
    }
    snapshot_io_refuse_if(io, !m->dir || m->nnames == 0 || m->service >= io->conf->nservices);
}

static void value_issuers(struct snapshot_io *io, struct conf_acme *a) {
    SNAPSHOT_LIST(io, a->issuers, a->nissuers, 0, CONF_ISSUERS_MAX);
    for (size_t i = 0; i < a->nissuers && !snapshot_io_bad(io); i++) {
        item_begin(io);
        value_issuer(io, &a->issuers[i]);
        item_end(io);
    }
}

static void value_managed_certs(struct snapshot_io *io, struct conf_acme *a) {
    SNAPSHOT_LIST(io, a->certs, a->ncerts, 0, CONF_ACME_CERTS_MAX);
    for (size_t i = 0; i < a->ncerts && !snapshot_io_bad(io); i++) {
        item_begin(io);
        value_managed(io, &a->certs[i]);
        item_end(io);
    }
}

void snapshot_acme(struct snapshot_io *io, struct conf_acme *a) {
    entry_of_path(io, "acme.state", &a->dir);
    if (entry_begin(io, "acme.issuer", ENTRY_OTHER)) {
        value_issuers(io, a);
        entry_end(io);
    }
    if (entry_begin(io, "acme.certificates", ENTRY_OTHER)) {
        value_managed_certs(io, a);
        entry_end(io);
    }
    if (entry_begin(io, "acme_tls", ENTRY_OTHER)) {
        SNAPSHOT_CHOICE(io, a->tls_route, 1);
        SNAPSHOT_VALUE(io, a->tls_service);
        entry_end(io);
    }
    for (size_t i = 0; i < io->conf->nservices; i++)
        snapshot_io_refuse_if(io, io->conf->services[i].fetch_ocsp && !a->dir);
    snapshot_io_refuse_if(io, (a->ncerts && !a->dir) || a->tls_service >= io->conf->nservices);
    snapshot_io_refuse_if(io,
                          a->tls_route && !snapshot_io_bad(io) && io->conf->services[a->tls_service].mode != MODE_PASSTHROUGH);
}
