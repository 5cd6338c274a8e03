/* `tls-off trace`: the events of one client, live. Returns the exit status. */
#pragma once

int cmd_trace(int argc, char **argv);
