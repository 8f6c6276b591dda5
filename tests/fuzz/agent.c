/* The small texts that a node agent reads: what CNI plugins and probed servers answer, the users of
 * an image, what the kernel says in /proc, what shims and earlier agents left in files, a pod's
 * variables. Every input goes to every reader. */
#include "agent/files.h"
#include "agent/net/ipam.h"
#include "agent/net/podnet.h"
#include "agent/oci_config.h"
#include "agent/probe.h"
#include "agent/resolve.h"
#include "agent/runtime_shim.h"
#include "agent/sandbox.h"
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <stdlib.h>

static void network(kb_str text)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_node *result = NULL;
    char ip[KB_IP_BYTES];
    struct in_addr in;
    if (kb_json_parse(&arena, text, NULL, &result, NULL) == 0 && kb__cni_result_ip(result, ip))
        KB_ASSERT(inet_pton(AF_INET, ip, &in) == 1);
    uint32_t network = 0;
    int prefix = 0;
    KB_AUTO(kb_auto_free) char *line = kb_str_dup(text);
    if (kb_cidr_parse(line, &network, &prefix, NULL) == 0)
        KB_ASSERT(prefix > 0 && prefix <= 30 && (network & (UINT32_MAX >> prefix)) == 0);
}

static void records(kb_str text)
{
    struct kb_rt_exit exit;
    pid_t pid = 0;
    int64_t us = 0, id = 0;
    (void)kb__shim_parse_exit(text, &exit);
    if (kb__shim_parse_started(text, &pid, &us))
        KB_ASSERT(pid > 0);
    KB_ASSERT(kb_proc_stamp(text).n <= text.n && kb_line_value(text, "id").n <= text.n);
    (void)kb__oci_lookup(text, 0, kb_str_of("app"), 2, &id);
    (void)kb__oci_lookup(text, 2, kb_str_of("0"), 3, &id);
    KB_AUTO(kb_auto_free) char *point = kb__mount_point(text);
    KB_ASSERT(strlen(point) <= text.n);
}

static void variables(kb_str text)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    static const char *const env[] = {"A=1", "LONG=$(A)", NULL};
    struct kb_resolve r = {.node = "n", .node_ip = "1.2.3.4", .pod_ip = "5.6.7.8"};
    KB_ASSERT(kb_resolve_expand(text, env, &arena) != NULL);
    (void)kb_resolve_field(&r, text, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    kb_str text = kb_str_n((const char *)data, n);
    int status = kb_probe_http_status(text);
    KB_ASSERT(status == -1 || status == 0 || (status >= 100 && status <= 999));
    KB_ASSERT(status != 0 || n < 12);
    network(text);
    records(text);
    variables(text);
    return 0;
}
