/* Cleanup by scope, and the one way to hand an owned pointer over. */
#ifndef KUBUS_BASE_AUTO_H
#define KUBUS_BASE_AUTO_H

/* Call fn(&variable) when the variable's scope ends. Every destroy(T **) and finish(T *) fits. To
 * hold something until then is use enough: clang would call such a variable unused. */
#define KB_AUTO(fn) __attribute__((cleanup(fn), unused))

/* Take the pointer out of `p`, leaving NULL behind. */
#define KB_STEAL(p)                                                                                \
    __extension__({                                                                                \
        __typeof__(p) kb_p_ = (p);                                                                 \
        (p) = NULL;                                                                                \
        kb_p_;                                                                                     \
    })

#define KB_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Symbols that a plugin may use: everything else stays inside the program. */
#define KB_API __attribute__((visibility("default")))

#define KB_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* free() for KB_AUTO: works on any pointer type. */
KB_API void kb_auto_free(void *pointer_to_pointer);
/* close() for KB_AUTO on an int; a negative descriptor is left alone. */
KB_API void kb_auto_close(int *fd);

#endif
