/* `tls-off ticket-secret new FILE`: makes the secret that the machines of a fleet share. */
#pragma once

/* The process' exit status: 0 made, 1 not made (it is there already, say), 2 wrong usage. */
int cmd_ticket_secret(int argc, char **argv);
