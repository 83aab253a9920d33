/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * terminal.h - takes over a terminal to draw on all of it, and gives it back as it was.
 *
 * Signals that would end the program do not while it is taken: they are read like keys, so that
 * there is always somebody to give it back. Thread: the main one; open it before others are made.
 */
#ifndef BRIQ_CLI_TERMINAL_H
#define BRIQ_CLI_TERMINAL_H

#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "common/base/attr.h"
#include "common/base/error.h"

struct briq_terminal {
    int signal_fd;
    struct termios before;
};

enum briq_terminal_event {
    BRIQ_TERMINAL_TIME,   /* that was awaited */
    BRIQ_TERMINAL_KEY,    /* was pressed */
    BRIQ_TERMINAL_RESIZE, /* it has another size now */
    BRIQ_TERMINAL_END,    /* a signal to end, or it has gone */
};

/* Standard input and output must be terminals. 0, or -errno explained in err. */
int briq_terminal_open(struct briq_terminal *terminal, struct briq_error *err) BRIQ_MUST;
/* Gives it back. */
void briq_terminal_close(struct briq_terminal *terminal);

/* Its size; 24 lines of 80 columns where it does not tell. */
void briq_terminal_size(unsigned *ret_rows, unsigned *ret_columns);

/* Waits for what comes first, at_ns being a time of briq_clock_ns(). */
enum briq_terminal_event briq_terminal_wait(const struct briq_terminal *terminal, uint64_t at_ns,
                                            char *ret_key);

/* Draws lines, each ended by a newline, from the top; as many as there is room for. */
void briq_terminal_draw(const char *text, size_t len);

#endif
