/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/clock.h"

/* The other screen, without a cursor; and back. */
#define TAKE_SCREEN "\033[?1049h\033[?25l\033[2J"
#define GIVE_SCREEN "\033[0m\033[?25h\033[?1049l"
#define GO_HOME     "\033[H"
#define CLEAR_LINE  "\033[K"
#define CLEAR_BELOW "\033[J"

static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};

static void say(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, text, len);
        if (n < 0 && errno != EINTR)
            return; /* it has gone, which the next wait tells */
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static int watch_signals(struct briq_error *err)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < BRIQ_COUNT_OF(watched); i++)
        sigaddset(&set, watched[i]);
    int r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
    int fd = r < 0 ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (r == 0 && fd < 0)
        r = -errno;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    return r < 0 ? briq_error_set(err, r, "cannot watch signals: %s", strerror(-r)) : fd;
}

int briq_terminal_open(struct briq_terminal *terminal, struct briq_error *err)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
        tcgetattr(STDIN_FILENO, &terminal->before) < 0)
        return briq_error_set(err, -ENOTTY, "this is no terminal: use --batch");
    terminal->signal_fd = watch_signals(err);
    if (terminal->signal_fd < 0)
        return terminal->signal_fd;
    struct termios raw = terminal->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0) {
        int r = -errno;
        close(terminal->signal_fd);
        return briq_error_set(err, r, "the terminal: %s", strerror(-r));
    }
    say(TAKE_SCREEN, strlen(TAKE_SCREEN));
    return 0;
}

void briq_terminal_close(struct briq_terminal *terminal)
{
    say(GIVE_SCREEN, strlen(GIVE_SCREEN));
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->before);
    close(terminal->signal_fd);
}

void briq_terminal_size(unsigned *ret_rows, unsigned *ret_columns)
{
    struct winsize size = {0};
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    *ret_rows = size.ws_row > 0 ? size.ws_row : 24;
    *ret_columns = size.ws_col > 0 ? size.ws_col : 80;
}

static enum briq_terminal_event take_signal(const struct briq_terminal *terminal)
{
    struct signalfd_siginfo info;
    if (read(terminal->signal_fd, &info, sizeof info) != sizeof info)
        return BRIQ_TERMINAL_RESIZE; /* none: drawing again does no harm */
    return info.ssi_signo == SIGWINCH || info.ssi_signo == SIGTSTP ? BRIQ_TERMINAL_RESIZE
                                                                   : BRIQ_TERMINAL_END;
}

static enum briq_terminal_event take_key(char *ret_key)
{
    ssize_t n = read(STDIN_FILENO, ret_key, 1);
    return n == 1 ? BRIQ_TERMINAL_KEY : BRIQ_TERMINAL_END;
}

enum briq_terminal_event briq_terminal_wait(const struct briq_terminal *terminal, uint64_t at_ns,
                                            char *ret_key)
{
    struct pollfd p[] = {{.fd = terminal->signal_fd, .events = POLLIN},
                         {.fd = STDIN_FILENO, .events = POLLIN}};
    for (;;) {
        uint64_t now = briq_clock_ns(), left = at_ns > now ? at_ns - now : 0;
        const struct timespec ts = {.tv_sec = (time_t)(left / 1000000000u),
                                    .tv_nsec = (long)(left % 1000000000u)};
        int n = ppoll(p, BRIQ_COUNT_OF(p), &ts, NULL);
        if (n == 0)
            return BRIQ_TERMINAL_TIME;
        if (n < 0)
            continue;
        return p[0].revents != 0 ? take_signal(terminal) : take_key(ret_key);
    }
}

void briq_terminal_draw(const char *text, size_t len)
{
    unsigned rows, columns, row = 0;
    char *out = NULL;
    size_t out_len = 0;
    FILE *stream = open_memstream(&out, &out_len);
    if (stream == NULL)
        return;
    briq_terminal_size(&rows, &columns);
    fputs(GO_HOME, stream);
    while (len > 0 && row < rows) {
        const char *end = memchr(text, '\n', len);
        size_t part = end != NULL ? (size_t)(end - text) : len;
        if (row++ > 0)
            fputc('\n', stream);
        fwrite(text, 1, part, stream);
        fputs(CLEAR_LINE, stream);
        text += part + (end != NULL);
        len -= part + (end != NULL);
    }
    fputs(CLEAR_BELOW, stream);
    if (fclose(stream) == 0)
        say(out, out_len);
    free(out);
}
