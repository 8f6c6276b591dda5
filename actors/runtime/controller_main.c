/* `kubus actor controller --plugin NAME --data DIR`: one controller, as a process. */
#include "actors/runtime/host.h"
#include "actors/runtime/resources.h"

#include "bus/base/log.h"

#include <dlfcn.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

KB_API int kb_module_main(int argc, char **argv);

struct options {
    const char *plugin, *data, *name;
    bool standalone;
};

static int options_read(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {{"plugin", required_argument, NULL, 'p'},
                                          {"data", required_argument, NULL, 'd'},
                                          {"name", required_argument, NULL, 'n'},
                                          {"standalone", no_argument, NULL, 's'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'p')
            o->plugin = optarg;
        else if (c == 'd')
            o->data = optarg;
        else if (c == 'n')
            o->name = optarg;
        else if (c == 's')
            o->standalone = true;
        else
            return -1;
    }
    return o->plugin && o->data && optind == argc ? 0 : -1;
}

/* A name stands for plugins/NAME.so beside this module; a text with a slash is a path. */
static char *plugin_path(const char *plugin)
{
    static const char here; /* an address in this module */
    Dl_info self;
    if (strchr(plugin, '/') || dladdr(&here, &self) == 0)
        return kb_strf("%s", plugin);
    const char *slash = strrchr(self.dli_fname, '/');
    int folder = slash ? (int)(slash + 1 - self.dli_fname) : 0;
    return kb_strf("%.*splugins/%s.so", folder, self.dli_fname, plugin);
}

/* The plugin's name for the bus: of the file, without ".so". */
static char *plugin_name(const char *plugin)
{
    const char *slash = strrchr(plugin, '/');
    kb_str name = kb_str_of(slash ? slash + 1 : plugin);
    if (kb_str_ends(name, ".so"))
        name.n -= 3;
    return kb_str_dup(name);
}

static const struct kb_plugin *plugin_load(const char *path)
{
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct kb_plugin *plugin = so ? dlsym(so, "kb_plugin_descriptor") : NULL;
    if (plugin == NULL)
        kb_error("%s", dlerror());
    return plugin;
}

static int run(struct kb_actor *actor, const struct kb_core_config *config, struct kb_err *err)
{
    struct kb_host *host = NULL;
    if (kb_host_new(actor, config, &host, err) < 0)
        return -err->code;
    int rc = kb_actor_run(actor, err);
    kb_host_destroy(&host);
    return rc;
}

int kb_module_main(int argc, char **argv)
{
    struct options o = {0};
    struct kb_err err = {0};
    if (options_read(&o, argc, argv) < 0) {
        fprintf(stderr, "usage: kubus actor controller --plugin NAME|FILE --data DIR [--name ACTOR]"
                        " [--standalone]\n");
        return 2;
    }
    KB_AUTO(kb_auto_free) char *path = plugin_path(o.plugin);
    KB_AUTO(kb_auto_free) char *name = o.name ? kb_strf("%s", o.name) : plugin_name(o.plugin);
    kb_log_init(name);
    const struct kb_plugin *plugin = plugin_load(path);
    if (plugin == NULL)
        return 1;
    struct kb_resources resources;
    kb_resources_builtin(&resources);
    malloc_trim(0); /* the registry was large, and is gone */
    struct kb_rand rand;
    kb_rand_init_system(&rand);
    struct kb_core_config config = {
        .plugin = plugin, .seed = kb_rand_next(&rand), .resources = resources.items};
    struct kb_actor_config actor_config = {.name = name,
                                           .data_dir = o.data,
                                           .run_dir = getenv("KUBUS_RUN"),
                                           .standalone = o.standalone};
    KB_AUTO(kb_actor_destroy) struct kb_actor *actor = NULL;
    int rc = kb_actor_new(&actor_config, &actor, &err);
    if (rc == 0)
        rc = run(actor, &config, &err);
    kb_resources_finish(&resources);
    if (rc < 0)
        kb_error("%s", err.text);
    return rc < 0 ? 1 : 0;
}
