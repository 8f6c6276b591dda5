#include "bus/transport.h"

void kb_message_destroy(struct kb_message **message_p)
{
    struct kb_message *message = KB_STEAL(*message_p);
    if (message)
        message->destroy(message);
}

void kb_socket_close(struct kb_socket **socket_p)
{
    struct kb_socket *socket = KB_STEAL(*socket_p);
    if (socket)
        socket->transport->ops->close(socket);
}

void kb_transport_destroy(struct kb_transport **transport_p)
{
    struct kb_transport *transport = KB_STEAL(*transport_p);
    if (transport)
        transport->ops->destroy(transport);
}
