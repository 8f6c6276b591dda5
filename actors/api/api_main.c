/* api_main.c - flags of `kubus actor api`. */
#include "actors/api/api_actor.h"

#include "bus/base/log.h"

#include <getopt.h>
#include <stdio.h>

KB_API int kb_module_main(int argc, char **argv);

static int usage(void)
{
    fprintf(stderr, "usage: kubus actor api --data DIR [--listen ADDRESS:PORT] "
                    "[--service-cidr CIDR] [--standalone]\n");
    return 2;
}

int kb_module_main(int argc, char **argv)
{
    enum { DATA = 1, LISTEN, SERVICE_CIDR, STANDALONE };
    static const struct option options[] = {{"data", required_argument, NULL, DATA},
                                            {"listen", required_argument, NULL, LISTEN},
                                            {"service-cidr", required_argument, NULL, SERVICE_CIDR},
                                            {"standalone", no_argument, NULL, STANDALONE},
                                            {NULL, 0, NULL, 0}};
    struct kb_api_config config = {.listen = "127.0.0.1:6443"};
    struct kb_err err = {0};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case DATA:
            config.data_dir = optarg;
            break;
        case LISTEN:
            config.listen = optarg;
            break;
        case SERVICE_CIDR:
            config.service_cidr = optarg;
            break;
        case STANDALONE:
            config.standalone = true;
            break;
        default:
            return usage();
        }
    }
    if (config.data_dir == NULL || optind != argc)
        return usage();
    if (kb_api_run(&config, &err) < 0) {
        kb_error("%s", err.text);
        return 1;
    }
    return 0;
}
