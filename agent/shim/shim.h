/* The inside of the shim, shared by its files alone; agent/shim/shim.c says what it is. */
#ifndef KUBUS_AGENT_SHIM_H
#define KUBUS_AGENT_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { REPORT_FD = 3, LOCK_FD = 4, LINE_BYTES = 16384, DRAIN_MS = 200, CLIENTS_MAX = 16 };

struct stream {
    const char *name;
    int fd; /* -1: at its end */
    size_t n;
    char line[LINE_BYTES];
};

/* Somebody attached. */
struct client {
    int socket, out, err; /* -1: none */
    bool in;
};

struct shim {
    bool tty, with_stdin, stdin_once, direct, hide_unified, exec;
    const char *dir, *log_path, *oom_path;
    int64_t log_bytes, log_files;
    char **command;

    int log_fd;
    int64_t log_at;
    struct stream out, err;
    int stdin_fd;   /* our end of DIR/stdin, for a tty; else -1 */
    int stdin_keep; /* a writer of DIR/stdin, so that it has no end; or -1 */
    int attach_fd;  /* listens; or -1 */
    struct client clients[CLIENTS_MAX];
    int console_fd;                     /* listens for the tty's master */
    int child_in, child_out, child_err; /* what the container gets */
    int signal_fd;
    pid_t runtime_pid, pid;
    int64_t started_us;
};

/* shim.c: blocking; what cannot be written is lost. */
void shim_write(int fd, const char *p, size_t n);

/* log.c: records of the CRI format, "TIME STREAM F|P TEXT", and their rotation. */
void shim_log_open(struct shim *shim);
/* Write what the buffer holds: whole lines, and a part when the buffer is full or at the end. */
void shim_log_flush(struct shim *shim, struct stream *stream, bool at_end);

/* attach.c: those who see the output as it comes. */
void shim_attach_listen(struct shim *shim); /* DIR/attach.sock */
void shim_attach_accept(struct shim *shim);
/* All that a client has said, before any output that it may wait for and any input that it may
 * type: who states the terminal's size first must not see what is typed then run in the old one. */
void shim_attach_hear(struct shim *shim, struct client *client);
void shim_attach_show(struct shim *shim, const struct stream *stream, const char *p, size_t n);

#endif
