/* `tls-off ticket-secret new FILE`: makes the secret that the machines of a fleet share. */
#pragma once

struct arguments;
extern const char ticket_secret_usage[];

/* The process' exit status: 0 made, 1 not made (it is there already, say). */
int cmd_ticket_secret(const struct arguments *a);
