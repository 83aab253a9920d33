/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

/* First byte of a report. */
#define READY  'R'
#define FAILED 'F'

/* The whole report, up to the end of the pipe. Returns its length. */
static size_t read_report(int fd, char *text, size_t room)
{
    size_t used = 0;
    while (used < room - 1) {
        ssize_t n = read(fd, text + used, room - 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    text[used] = '\0';
    return used;
}

static enum briq_exit wait_for_child(int fd, pid_t child, const char *verb)
{
    char text[BRIQ_ERROR_TEXT_MAX + 1];
    size_t len = read_report(fd, text, sizeof text);
    close(fd);
    if (len > 0 && text[0] == READY) {
        printf("%s\n", text + 1);
        return BRIQ_EXIT_OK;
    }
    (void)waitpid(child, NULL, 0);
    fprintf(stderr, "briq %s: %s\n", verb,
            len > 0 ? text + 1 : "the server died while it was starting; see the system log");
    return BRIQ_EXIT_FAILED;
}

int briq_daemon_start(struct briq_daemon *daemon, bool background, const char *verb,
                      struct briq_error *err, bool *ret_starter, enum briq_exit *ret_exit)
{
    int fds[2];
    *daemon = (struct briq_daemon){.background = background, .report_fd = -1};
    *ret_starter = false;
    if (!background)
        return 0;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        int r = -errno;
        return briq_error_set(err, r, "pipe: %s", strerror(-r));
    }
    (void)fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        int r = -errno;
        close(fds[0]);
        close(fds[1]);
        return briq_error_set(err, r, "fork: %s", strerror(-r));
    }
    *ret_starter = child > 0;
    if (child > 0) {
        close(fds[1]);
        *ret_exit = wait_for_child(fds[0], child, verb);
        return 0;
    }
    close(fds[0]);
    daemon->report_fd = fds[1];
    (void)setsid();
    return 0;
}

static void report(struct briq_daemon *daemon, char kind, const char *text)
{
    char line[BRIQ_ERROR_TEXT_MAX + 1];
    int len = snprintf(line, sizeof line, "%c%s", kind, text);
    if (len >= (int)sizeof line)
        len = (int)sizeof line - 1;
    /* Shorter than PIPE_BUF: it goes at once. A starter that was killed does not matter. */
    ssize_t n = write(daemon->report_fd, line, (size_t)len);
    (void)n;
    close(daemon->report_fd);
    daemon->report_fd = -1;
}

/* The terminal is the starter's again. */
static void let_go_of_terminal(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    for (int i = 0; i <= 2; i++)
        (void)dup2(fd, i);
    close(fd);
    (void)chdir("/");
}

void briq_daemon_ready(struct briq_daemon *daemon, const char *line)
{
    if (!daemon->background) {
        printf("%s\n", line);
        (void)fflush(stdout);
        return;
    }
    openlog("briq", LOG_PID, LOG_DAEMON);
    let_go_of_terminal();
    report(daemon, READY, line);
}

enum briq_exit briq_daemon_failed(struct briq_daemon *daemon, const char *verb,
                                  const struct briq_error *err, int code)
{
    const char *why = err->text[0] != '\0' ? err->text : strerror(-code);
    if (daemon->report_fd >= 0)
        report(daemon, FAILED, why);
    else if (daemon->background)
        syslog(LOG_ERR, "%s: %s", verb, why);
    else
        return briq_verb_fail(verb, err, code);
    return BRIQ_EXIT_FAILED;
}

static void log_line(void *opaque, enum briq_log_level level, const char *line)
{
    const struct briq_daemon *daemon = opaque;
    static const int priorities[] = {
        [BRIQ_LOG_ERROR] = LOG_ERR, [BRIQ_LOG_WARNING] = LOG_WARNING, [BRIQ_LOG_INFO] = LOG_INFO};
    static const char *const words[] = {
        [BRIQ_LOG_ERROR] = "error", [BRIQ_LOG_WARNING] = "warning", [BRIQ_LOG_INFO] = "note"};
    if (daemon->background && daemon->report_fd < 0)
        syslog(priorities[level], "%s", line);
    else if (level != BRIQ_LOG_INFO)
        fprintf(stderr, "briq: %s: %s\n", words[level], line);
}

struct briq_log briq_daemon_log(struct briq_daemon *daemon)
{
    return (struct briq_log){.sink = log_line, .opaque = daemon};
}
