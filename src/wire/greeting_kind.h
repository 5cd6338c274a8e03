/*
 * Protocols whose server speaks first. A client that came to TLS by a command of such a protocol has been greeted already, by
 * the handshaker: the backend's own greeting does not go to it. The numbers are part of the hand-over format.
 */
#pragma once

enum greeting {
    GREETING_NONE, /* the first bytes of the backend are the client's */
    GREETING_SMTP, /* and LMTP */
    GREETING_IMAP,
    GREETING_POP3,
    GREETING_NNTP,
    GREETINGS,
};
