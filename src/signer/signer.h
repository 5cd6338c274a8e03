/* The role that holds the private keys: it signs for one handshaker, and does nothing else. */
#pragma once

/* Serves until it is asked to stop; the process' exit status. CONTROL is the socket to the supervisor. */
int signer_run(int control);
