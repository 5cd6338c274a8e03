/* Keys whose value is a list. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct reading;
struct toml_node;

/* Addresses to listen on, as indices in conf.listeners. */
void read_addresses(struct reading *r, const struct toml_node *node, uint16_t **ret, size_t *ret_n);
void read_listen(struct reading *r, const struct toml_node *node);
void read_backends(struct reading *r, const struct toml_node *node);
void read_certificates(struct reading *r, const struct toml_node *node);
void read_names(struct reading *r, const struct toml_node *node);
void read_match_alpn(struct reading *r, const struct toml_node *node);
void read_alpn(struct reading *r, const struct toml_node *node);
void read_suites(struct reading *r, const struct toml_node *node);
void read_groups(struct reading *r, const struct toml_node *node);
void read_tlvs(struct reading *r, const struct toml_node *node);
void read_secret_file(struct reading *r, const struct toml_node *node);
void read_secret_files(struct reading *r, const struct toml_node *node);
void read_access_allow(struct reading *r, const struct toml_node *node);
void read_access_deny(struct reading *r, const struct toml_node *node);
void read_deny_ja4(struct reading *r, const struct toml_node *node);
void read_client_allow(struct reading *r, const struct toml_node *node);
void read_trust(struct reading *r, const struct toml_node *node);
