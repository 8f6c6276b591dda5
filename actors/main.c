/* main.c - the program `kubus`: one file to install, many processes.
 *
 * `kubus actor NAME …` becomes an actor: `kernel` and `store` are linked in, all others are
 * modules,
 * ../lib/kubus/NAME.so beside the program, which find the symbols of bus and runtime in it. So what
 * an actor does not use (TLS, HTTP/2) is not mapped into it. Everything else is the command line,
 * a module too. */
#include "bus/base/log.h"
#include "bus/base/str.h"

#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef int main_fn(int argc, char **argv);

int kb_kernel_main(int argc, char **argv);
int kb_store_main(int argc, char **argv);
int kb_store_cli(int argc, char **argv);

static const struct {
    const char *name;
    main_fn *run;
} builtin[] = {
#ifdef KUBUS_HAS_KERNEL
    {"kernel", kb_kernel_main},
#endif
#ifdef KUBUS_HAS_STORE
    {"store", kb_store_main},
#endif
    {NULL, NULL},
};

/* Where the module lies: in KUBUS_LIB, or seen from the program as installed, or as built. Caller
 * frees. */
static char *module_path(const char *name)
{
    char exe[PATH_MAX];
    const char *lib = getenv("KUBUS_LIB");
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (lib)
        return kb_strf("%s/%s.so", lib, name);
    exe[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = '\0';
    char *path = kb_strf("%s/../" KUBUS_LIB_FROM_PREFIX "/%s.so", exe, name);
    if (access(path, R_OK) == 0)
        return path;
    free(path);
    return kb_strf("%s/../lib/kubus/%s.so", exe, name);
}

static int run_module(const char *name, int argc, char **argv)
{
    KB_AUTO(kb_auto_free) char *path = module_path(name);
    void *module = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (module == NULL) {
        fprintf(stderr, "kubus: %s\n", dlerror());
        return 127;
    }
    void *symbol = dlsym(module, "kb_module_main");
    main_fn *run;
    memcpy(&run, &symbol, sizeof(run)); /* ISO C has no cast between the two */
    if (run == NULL) {
        fprintf(stderr, "kubus: %s has no kb_module_main\n", path);
        return 127;
    }
    return run(argc, argv);
}

/* One heap: an actor has one thread that allocates, beside ZeroMQ's. Small control planes matter.
 */
static void tune_memory(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
}

static int run_actor(int argc, char **argv)
{
    if (argc < 3 || strchr(argv[2], '/') || argv[2][0] == '-') {
        fprintf(stderr, "usage: kubus actor NAME [options]\n");
        return 2;
    }
    tune_memory();
    kb_log_init(argv[2]);
    for (size_t i = 0; builtin[i].name; i++)
        if (strcmp(argv[2], builtin[i].name) == 0)
            return builtin[i].run(argc - 2, argv + 2);
    return run_module(argv[2], argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "actor") == 0)
        return run_actor(argc, argv);
    kb_log_init("kubus");
#ifdef KUBUS_HAS_STORE
    if (argc >= 2 && strcmp(argv[1], "store") == 0)
        return kb_store_cli(argc - 1, argv + 1);
#endif
    if (argc >= 2 && strcmp(argv[1], "sim") == 0)
        return run_module("sim", argc - 1, argv + 1);
    return run_module("cli", argc, argv);
}
