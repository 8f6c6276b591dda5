/* zmq_unused.c - what Debian's static libzmq wants of libraries for transports that we never use.
 *
 * libzmq is built with PGM, NORM (multicast) and GSSAPI (a security mechanism). Linked dynamically
 * they come along into every process: some twenty libraries, and more than half of an idle actor's
 * memory. Linked statically against these stand-ins they do not
 * (docs/decisions/0005-static-zmq.md). None of them can be reached: no socket of ours is pgm:// or
 * norm://, none sets a GSSAPI option. `pgm_init` runs with every context, and has to say yes. */
#include "bus/base/check.h"

/* The declarations are ours alone: the libraries' headers need not be there. */
#define UNUSED(name)                                                                               \
    void name(void);                                                                               \
    void name(void)                                                                                \
    {                                                                                              \
        KB_UNREACHABLE();                                                                          \
    }
#define UNUSED_OBJECT(name)                                                                        \
    extern void *name;                                                                             \
    void *name;

int pgm_init(void *error);
int pgm_init(void *error)
{
    (void)error;
    return 1;
}

int pgm_shutdown(void);
int pgm_shutdown(void)
{
    return 1;
}

UNUSED(pgm_bind3)
UNUSED(pgm_close)
UNUSED(pgm_connect)
UNUSED(pgm_error_free)
UNUSED(pgm_free)
UNUSED(pgm_freeaddrinfo)
UNUSED(pgm_getaddrinfo)
UNUSED(pgm_getsockopt)
UNUSED(pgm_gsi_create_from_data)
UNUSED(pgm_recvmsgv)
UNUSED(pgm_send)
UNUSED(pgm_setsockopt)
UNUSED(pgm_socket)

UNUSED(NormCreateInstance)
UNUSED(NormCreateSession)
UNUSED(NormDestroyInstance)
UNUSED(NormDestroySession)
UNUSED(NormGetDescriptor)
UNUSED(NormGetNextEvent)
UNUSED(NormGetRandomSessionId)
UNUSED(NormIsUnicastAddress)
UNUSED(NormNodeDelete)
UNUSED(NormObjectGetType)
UNUSED(NormObjectGetUserData)
UNUSED(NormObjectSetUserData)
UNUSED(NormSetCongestionControl)
UNUSED(NormSetDefaultSyncPolicy)
UNUSED(NormSetDefaultUnicastNack)
UNUSED(NormSetLoopback)
UNUSED(NormSetMulticastInterface)
UNUSED(NormSetRxPortReuse)
UNUSED(NormSetTTL)
UNUSED(NormStartReceiver)
UNUSED(NormStartSender)
UNUSED(NormStopInstance)
UNUSED(NormStopReceiver)
UNUSED(NormStopSender)
UNUSED(NormStreamFlush)
UNUSED(NormStreamOpen)
UNUSED(NormStreamRead)
UNUSED(NormStreamSeekMsgStart)
UNUSED(NormStreamWrite)

UNUSED(gss_accept_sec_context)
UNUSED(gss_acquire_cred)
UNUSED(gss_delete_sec_context)
UNUSED(gss_display_name)
UNUSED(gss_import_name)
UNUSED(gss_init_sec_context)
UNUSED(gss_release_buffer)
UNUSED(gss_release_cred)
UNUSED(gss_release_name)
UNUSED(gss_unwrap)
UNUSED(gss_wrap)

UNUSED_OBJECT(GSS_C_NT_HOSTBASED_SERVICE)
UNUSED_OBJECT(GSS_C_NT_USER_NAME)
UNUSED_OBJECT(GSS_KRB5_NT_PRINCIPAL_NAME)
UNUSED_OBJECT(NORM_NODE_ANY)
UNUSED_OBJECT(NORM_INSTANCE_INVALID)
UNUSED_OBJECT(NORM_SESSION_INVALID)
UNUSED_OBJECT(NORM_OBJECT_INVALID)
UNUSED_OBJECT(NORM_NODE_NONE)
