/* attach.c - those who are attached: what they get of the output, and what they say. */
#include "agent/shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void stdin_end(struct shim *shim)
{
    if (shim->stdin_keep < 0)
        return;
    close(shim->stdin_keep);
    shim->stdin_keep = -1;
    if (shim->tty && shim->out.fd >= 0) /* for a terminal it is a character */
        shim_write(shim->out.fd, "\x04", 1);
}

static void client_drop(struct shim *shim, struct client *client)
{
    int fds[] = {client->socket, client->out, client->err};
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (client->in && shim->stdin_once)
        stdin_end(shim);
    *client = (struct client){-1, -1, -1, false};
}

void shim_attach_listen(struct shim *shim)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "attach.sock"};
    for (int i = 0; i < CLIENTS_MAX; i++)
        shim->clients[i] = (struct client){-1, -1, -1, false};
    unlink(addr.sun_path);
    shim->attach_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (shim->attach_fd >= 0 && (bind(shim->attach_fd, (void *)&addr, sizeof addr) < 0 ||
                                 listen(shim->attach_fd, CLIENTS_MAX) < 0)) {
        close(shim->attach_fd); /* the container runs all the same */
        shim->attach_fd = -1;
    }
}

/* One message; up to two descriptors that came with it. */
static ssize_t client_receive(int socket, char *text, size_t cap, int fds[2])
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec iov = {text, cap - 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    fds[0] = fds[1] = -1;
    if (head != NULL && head->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(head), head->cmsg_len - CMSG_LEN(0));
    for (int i = 0; i < 2; i++) /* whoever sends a blocking one would hold the container up */
        if (fds[i] >= 0)
            fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
    text[n > 0 ? n : 0] = '\0';
    return n;
}

/* One message. False when there is none, or the client has gone. */
static bool client_message(struct shim *shim, struct client *client)
{
    char text[64];
    int fds[2], in = 0;
    unsigned short rows, columns;
    ssize_t n = client_receive(client->socket, text, sizeof text, fds);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n > 0 && client->out < 0 && fds[0] >= 0 && sscanf(text, "attach %d", &in) == 1) {
        client->out = fds[0];
        client->err = fds[1];
        client->in = in != 0;
        return true;
    }
    for (int i = 0; i < 2; i++) /* not asked for */
        if (fds[i] >= 0)
            close(fds[i]);
    if (n > 0 && sscanf(text, "size %hu %hu", &rows, &columns) == 2) {
        struct winsize size = {.ws_row = rows, .ws_col = columns};
        if (shim->tty && shim->out.fd >= 0)
            ioctl(shim->out.fd, TIOCSWINSZ, &size);
    } else if (n > 0 && strcmp(text, "eof") == 0 && client->in && shim->stdin_once) {
        stdin_end(shim);
    } else if (n <= 0) {
        client_drop(shim, client);
        return false;
    }
    return true;
}

void shim_attach_hear(struct shim *shim, struct client *client)
{
    enum { AT_ONCE = 1000 }; /* one who does not stop is heard on in the next round */
    for (int i = 0; i < AT_ONCE && client_message(shim, client); i++)
        ;
}

void shim_attach_accept(struct shim *shim)
{
    int fd = accept4(shim->attach_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    for (int i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
        if (shim->clients[i].socket >= 0)
            continue;
        shim->clients[i].socket = fd;
        shim_attach_hear(shim, &shim->clients[i]);
        return;
    }
    if (fd >= 0) /* too many */
        close(fd);
}

void shim_attach_show(struct shim *shim, const struct stream *stream, const char *p, size_t n)
{
    for (int i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &shim->clients[i];
        int fd = stream == &shim->out ? client->out : client->err;
        if (fd >= 0 && write(fd, p, n) != (ssize_t)n)
            client_drop(shim, client);
    }
}
