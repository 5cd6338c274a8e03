/* The [admin] section. */
#pragma once

struct load;
struct reading;
struct toml_node;

void read_admin_socket(struct reading *r, const struct toml_node *node);
void read_socket_mode(struct reading *r, const struct toml_node *node);
void read_socket_owner(struct reading *r, const struct toml_node *node);
void read_socket_group(struct reading *r, const struct toml_node *node);
void read_admin_listen(struct reading *r, const struct toml_node *node);

/* The admin socket's place when none is given; then what is wrong with it. */
void admin_defaults(struct load *l);
void check_admin(struct load *l);
