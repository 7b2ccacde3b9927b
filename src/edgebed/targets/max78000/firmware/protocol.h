/* Answers commands. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

void protocol_report_selftest(void); /* runs the self-test and prints its result line */
void protocol_handle(void);          /* one command; sleeps until one comes */
int protocol_streaming(void);        /* camera frames are wanted */
void protocol_stream_frame(void);    /* one camera frame, reported as the host wanted it */
void protocol_stream_text(void);     /* streams from now on, as text only */

#endif
