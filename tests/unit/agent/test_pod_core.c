/* A pod's life in virtual time: what the core wishes, and what the API shows meanwhile. */
#include "agent/pod_core.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

enum { MAX_LOG = 512 };

struct world {
    struct kb_pod_core *core;
    struct kb_doc *doc;
    kb_ms ms;
    char log[MAX_LOG][96]; /* "start web 0", "event BackOff" … */
    size_t n;
};

static const int64_t epoch_us = INT64_C(1700000000000000);
static const char *uid = "7d0e";

static struct kb_pod_time now(const struct world *w)
{
    return (struct kb_pod_time){w->ms, epoch_us + w->ms * 1000};
}

static struct kb_doc *json(const char *text)
{
    struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &doc, &err), &err);
    return doc;
}

static void note(struct world *w, const char *format, ...) KB_PRINTF(2, 3);
static void note(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    KB_CHECK(w->n < MAX_LOG);
    vsnprintf(w->log[w->n++], sizeof w->log[0], format, args);
    va_end(args);
}

static void take(struct world *w, struct kb_pod_out *out)
{
    static const char *const kinds[] = {"prepare", "sandbox", "image",    "start",
                                        "signal",  "hook",    "probe",    "remove",
                                        "event",   "status",  "teardown", "delete"};
    for (size_t i = 0; i < out->n; i++) {
        const struct kb_pod_wish *wish = &out->wishes[i];
        const char *name =
            wish->container >= 0 ? kb_pod_core_container_name(w->core, wish->container) : "";
        if (wish->kind == KB_POD_EVENT)
            note(w, "event %s", wish->reason);
        else if (wish->kind == KB_POD_SIGNAL)
            note(w, "signal %s %d", name, wish->signal);
        else if (wish->kind == KB_POD_START || wish->kind == KB_POD_REMOVE)
            note(w, "%s %s %u", kinds[wish->kind], name, wish->attempt);
        else
            note(w, "%s%s%s", kinds[wish->kind], *name ? " " : "", name);
    }
    kb_pod_out_finish(out);
}

#define DO(w, call)                                                                                \
    do {                                                                                           \
        struct kb_pod_out out_ = {0}, *out = &out_;                                                \
        call;                                                                                      \
        take(w, out);                                                                              \
    } while (0)

static bool said(const struct world *w, const char *what)
{
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->log[i], what) == 0)
            return true;
    return false;
}

static void forget(struct world *w)
{
    w->n = 0;
}

static struct world *world_new(const char *spec)
{
    struct world *w = calloc(1, sizeof *w);
    struct kb_pod_node node = {.ip = "192.0.2.1"};
    KB_AUTO(kb_auto_free)
    char *text =
        kb_strf("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"%s\"},\"spec\":%s,"
                "\"status\":{\"phase\":\"Pending\"}}",
                uid, spec);
    w->doc = json(text);
    w->core = kb_pod_core_new(w->doc, &node);
    return w;
}

/* Let the virtual clock run, firing the core's own deadlines on the way. */
static void run(struct world *w, kb_ms span)
{
    kb_ms end = w->ms + span;
    for (;;) {
        kb_ms wait = kb_pod_core_wait_ms(w->core, w->ms);
        if (wait < 0 || w->ms + wait > end)
            break;
        w->ms += wait > 0 ? wait : 1;
        DO(w, kb_pod_core_tick(w->core, now(w), out));
    }
    w->ms = end;
}

static int at(const struct world *w, const char *name)
{
    int i = kb_pod_core_find(w->core, kb_str_of(name));
    KB_CHECK(i >= 0);
    return i;
}

static void ground(struct world *w)
{
    struct kb_rt_sandbox_info info = {.ip = "10.1.0.2"};
    DO(w, kb_pod_core_begin(w->core, now(w), out));
    KB_CHECK(said(w, "prepare"));
    DO(w, kb_pod_core_prepared(w->core, NULL, now(w), out));
    KB_CHECK(said(w, "sandbox"));
    DO(w, kb_pod_core_sandbox(w->core, NULL, &info, now(w), out));
}

static void started(struct world *w, const char *name)
{
    int i = at(w, name);
    struct kb_rt_container_info info = {.id = "crun://1",
                                        .image = "docker.io/library/busybox:latest",
                                        .image_id = "x@sha256:1",
                                        .state = KB_RT_RUNNING,
                                        .started_us = now(w).wall_us};
    DO(w, kb_pod_core_image(w->core, i, NULL, NULL, now(w), out));
    DO(w, kb_pod_core_started(w->core, i, (unsigned)kb_pod_core_attempt(w->core, i), NULL, &info,
                              now(w), out));
}

static void exits(struct world *w, const char *name, int code)
{
    int i = at(w, name);
    struct kb_rt_exit exit = {.code = code, .started_us = epoch_us, .finished_us = now(w).wall_us};
    DO(w, kb_pod_core_exited(w->core, i, (unsigned)kb_pod_core_attempt(w->core, i), &exit, NULL,
                             now(w), out));
}

static kb_str status(const struct world *w, const char *path)
{
    return kb_val_str(kb_doc_at(kb_pod_core_status(w->core), path));
}

static kb_str condition(const struct world *w, const char *type, const char *field)
{
    for (struct kb_iter it = kb_iter(kb_doc_at(kb_pod_core_status(w->core), "conditions"));
         kb_iter_next(&it);)
        if (kb_str_is(kb_val_str_at(it.val, "type"), type))
            return kb_val_str_at(it.val, field);
    return (kb_str){0};
}

static void world_free(struct world *w)
{
    kb_pod_core_destroy(&w->core);
    kb_doc_destroy(&w->doc);
    free(w);
}

#define ONE "{\"containers\":[{\"name\":\"web\",\"image\":\"busybox\"}]}"

KB_TEST(pod_core, a_pod_comes_up_and_shows_it)
{
    struct world *w = world_new(ONE);
    ground(w);
    KB_CHECK(said(w, "image web"));
    KB_CHECK_STRN(status(w, "phase"), "Pending");
    KB_CHECK_STRN(status(w, "containerStatuses[0].state.waiting.reason"), "ContainerCreating");
    KB_CHECK_STRN(condition(w, "Ready", "reason"), "ContainersNotReady");
    KB_CHECK_STRN(condition(w, "Ready", "message"), "containers with unready status: [web]");
    started(w, "web");
    KB_CHECK(said(w, "start web 0") && said(w, "event Created") && said(w, "event Started"));
    KB_CHECK_STRN(status(w, "phase"), "Running");
    KB_CHECK_STRN(status(w, "podIP"), "10.1.0.2");
    KB_CHECK_STRN(status(w, "hostIPs[0].ip"), "192.0.2.1");
    KB_CHECK_STRN(status(w, "qosClass"), "BestEffort");
    KB_CHECK_STRN(condition(w, "Ready", "status"), "True");
    KB_CHECK_STRN(condition(w, "PodReadyToStartContainers", "status"), "True");
    world_free(w);
}

KB_TEST(pod_core, crashes_back_off_from_ten_seconds_to_five_minutes)
{
    static const kb_ms waits[] = {0, 10000, 20000, 40000, 80000, 160000, 300000, 300000};
    struct world *w = world_new(ONE);
    ground(w);
    for (size_t i = 0; i < KB_COUNT(waits); i++) {
        started(w, "web");
        forget(w);
        exits(w, "web", 1);
        if (waits[i] > 0) {
            KB_CHECK(!said(w, "image web"));
            KB_CHECK_STRN(status(w, "containerStatuses[0].state.waiting.reason"),
                          "CrashLoopBackOff");
            KB_CHECK_STRN(status(w, "containerStatuses[0].lastState.terminated.reason"), "Error");
            run(w, waits[i] - 2);
            KB_CHECK(!said(w, "image web"));
            run(w, 4);
        }
        KB_CHECK(said(w, "image web"));
    }
    KB_CHECK_STRN(status(w, "phase"), "Running");
    KB_CHECK_STRN(status(w, "containerStatuses[0].state.waiting.message"),
                  "back-off 5m0s restarting failed container=web pod=p_d(7d0e)");
    /* After ten quiet minutes the next crash is the first again. */
    started(w, "web");
    KB_CHECK_I64(
        kb_val_int(kb_doc_at(kb_pod_core_status(w->core), "containerStatuses[0].restartCount"), 0),
        ==, 8);
    run(w, 601000);
    forget(w);
    exits(w, "web", 1);
    KB_CHECK(said(w, "image web"));
    world_free(w);
}

KB_TEST(pod_core, a_pod_that_never_restarts_succeeds_or_fails)
{
    for (int code = 0; code < 2; code++) {
        struct world *w = world_new(
            "{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"web\",\"image\":\"b\"}]}");
        ground(w);
        started(w, "web");
        exits(w, "web", code);
        KB_CHECK_STRN(status(w, "phase"), code ? "Failed" : "Succeeded");
        KB_CHECK_STRN(status(w, "containerStatuses[0].state.terminated.reason"),
                      code ? "Error" : "Completed");
        KB_CHECK_STRN(condition(w, "Ready", "reason"), code ? "PodFailed" : "PodCompleted");
        KB_CHECK_I64(kb_pod_core_wait_ms(w->core, w->ms), ==, -1);
        world_free(w);
    }
}

#define WITH_INIT                                                                                  \
    "{\"initContainers\":[{\"name\":\"i1\",\"image\":\"b\"},{\"name\":\"side\",\"image\":\"b\","   \
    "\"restartPolicy\":\"Always\"}],\"containers\":[{\"name\":\"web\",\"image\":\"b\"}],"          \
    "\"restartPolicy\":\"Never\"}"

KB_TEST(pod_core, init_containers_come_first_and_sidecars_stay_to_the_end)
{
    struct world *w = world_new(WITH_INIT);
    ground(w);
    KB_CHECK(said(w, "image i1") && !said(w, "image side") && !said(w, "image web"));
    KB_CHECK_STRN(status(w, "containerStatuses[0].state.waiting.reason"), "PodInitializing");
    KB_CHECK_STRN(condition(w, "Initialized", "message"),
                  "containers with incomplete status: [i1 side]");
    started(w, "i1");
    exits(w, "i1", 0);
    KB_CHECK(said(w, "image side") && !said(w, "image web"));
    started(w, "side");
    KB_CHECK(said(w, "image web"));
    started(w, "web");
    KB_CHECK_STRN(condition(w, "Initialized", "status"), "True");
    forget(w);
    exits(w, "side", 1); /* a sidecar comes back whatever the pod's policy */
    KB_CHECK(said(w, "image side"));
    started(w, "side");
    forget(w);
    exits(w, "web", 0);
    KB_CHECK(said(w, "signal side 15"));
    KB_CHECK_STRN(status(w, "phase"), "Running");
    exits(w, "side", 143);
    KB_CHECK_STRN(status(w, "phase"), "Succeeded");
    run(w, 600000);
    KB_CHECK(!said(w, "image side")); /* nor when nobody is left whom it served */
    world_free(w);
}

static void mark_deleted(struct world *w, int64_t grace)
{
    KB_AUTO(kb_auto_free)
    char *text = kb_strf(
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"%s\",\"deletionTimestamp\":"
        "\"2023-11-14T22:13:20Z\",\"deletionGracePeriodSeconds\":%lld},\"spec\":{\"containers\":"
        "[{\"name\":\"web\",\"image\":\"b\",\"lifecycle\":{\"preStop\":{\"exec\":{\"command\":"
        "[\"x\"]}}}}]},\"status\":{\"phase\":\"Running\"}}",
        uid, (long long)grace);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json(text);
    DO(w, kb_pod_core_update(w->core, doc, now(w), out));
}

KB_TEST(pod_core, deletion_runs_the_hook_then_term_then_kill_then_removes)
{
    struct world *w = world_new(ONE);
    ground(w);
    started(w, "web");
    forget(w);
    mark_deleted(w, 30);
    KB_CHECK(said(w, "event Killing") && said(w, "hook web") && !said(w, "signal web 15"));
    KB_CHECK_STRN(condition(w, "Ready", "status"), "True"); /* as long as it serves */
    run(w, 5000);
    DO(w, kb_pod_core_hook(w->core, 0, KB_HOOK_PRE_STOP, NULL, now(w), out));
    KB_CHECK(said(w, "signal web 15"));
    run(w, 24000);
    KB_CHECK(!said(w, "signal web 9"));
    run(w, 2000);
    KB_CHECK(said(w, "signal web 9"));
    KB_CHECK(!said(w, "teardown"));
    exits(w, "web", 137);
    KB_CHECK(said(w, "teardown") && !said(w, "delete"));
    KB_CHECK_STRN(status(w, "phase"), "Failed");
    DO(w, kb_pod_core_torn_down(w->core, NULL, now(w), out));
    KB_CHECK(said(w, "delete"));
    world_free(w);
}

KB_TEST(pod_core, the_longest_grace_that_can_be_written_is_a_long_one)
{
    struct world *w = world_new(ONE);
    ground(w);
    started(w, "web");
    mark_deleted(w, INT64_MAX);
    DO(w, kb_pod_core_hook(w->core, 0, KB_HOOK_PRE_STOP, NULL, now(w), out));
    KB_CHECK(said(w, "signal web 15"));
    KB_CHECK_I64(kb_pod_core_wait_ms(w->core, w->ms), >, 1000);
    KB_CHECK(!said(w, "signal web 9"));
    world_free(w);
}

KB_TEST(pod_core, deletion_in_the_middle_of_a_start_waits_for_it_and_starts_nothing_more)
{
    struct world *w = world_new(ONE);
    ground(w);
    DO(w, kb_pod_core_image(w->core, 0, NULL, NULL, now(w), out));
    forget(w);
    mark_deleted(w, 0);
    KB_CHECK(!said(w, "teardown"));
    struct kb_rt_container_info info = {.id = "crun://1", .image = "b", .image_id = ""};
    DO(w, kb_pod_core_started(w->core, 0, 0, NULL, &info, now(w), out));
    KB_CHECK(said(w, "signal web 9"));
    exits(w, "web", 137);
    KB_CHECK(said(w, "teardown") && !said(w, "image web"));
    world_free(w);
}

KB_TEST(pod_core, an_evicted_pod_ends_at_once_and_says_why)
{
    struct world *w = world_new(ONE);
    ground(w);
    started(w, "web");
    forget(w);
    DO(w, kb_pod_core_evict(w->core, "it takes too much. ", now(w), out));
    KB_CHECK(said(w, "event Evicted") && said(w, "signal web 15"));
    run(w, 3000);
    KB_CHECK(said(w, "signal web 9"));
    exits(w, "web", 137);
    KB_CHECK_STRN(status(w, "phase"), "Failed");
    KB_CHECK_STRN(status(w, "reason"), "Evicted");
    KB_CHECK_STRN(status(w, "message"), "it takes too much. ");
    KB_CHECK_STRN(condition(w, "DisruptionTarget", "reason"), "TerminationByKubelet");
    run(w, 600000);
    KB_CHECK(!said(w, "image web"));
    world_free(w);
}

#define PROBED                                                                                     \
    "{\"containers\":[{\"name\":\"web\",\"image\":\"b\",\"startupProbe\":{\"periodSeconds\":1,"    \
    "\"failureThreshold\":3},\"livenessProbe\":{\"periodSeconds\":5,\"failureThreshold\":2},"      \
    "\"readinessProbe\":{\"periodSeconds\":5,\"failureThreshold\":1}}]}"

static void probed(struct world *w, enum kb_pod_probe kind, bool ok)
{
    DO(w, kb_pod_core_probed(w->core, 0, (unsigned)kb_pod_core_attempt(w->core, 0), kind, ok, "no",
                             now(w), out));
}

KB_TEST(pod_core, probes_gate_readiness_and_restart_what_does_not_live)
{
    struct world *w = world_new(PROBED);
    ground(w);
    started(w, "web");
    run(w, 100);
    KB_CHECK_STRN(condition(w, "Ready", "status"), "False");
    probed(w, KB_PROBE_STARTUP, true);
    KB_CHECK_STRN(condition(w, "Ready", "status"), "False"); /* readiness was not asked yet */
    run(w, 1);
    probed(w, KB_PROBE_READINESS, true);
    KB_CHECK_STRN(condition(w, "Ready", "status"), "True");
    run(w, 5100);
    probed(w, KB_PROBE_READINESS, false);
    KB_CHECK_STRN(condition(w, "Ready", "status"), "False");
    KB_CHECK(said(w, "event Unhealthy"));
    forget(w);
    probed(w, KB_PROBE_LIVENESS, false);
    KB_CHECK(!said(w, "signal web 15"));
    run(w, 5100);
    probed(w, KB_PROBE_LIVENESS, false);
    KB_CHECK(said(w, "signal web 15") && said(w, "event Killing"));
    exits(w, "web", 143);
    KB_CHECK(said(w, "image web"));
    world_free(w);
}

KB_TEST(pod_core, a_pull_that_fails_is_shown_backs_off_and_is_tried_again)
{
    struct world *w = world_new(ONE);
    struct kb_err err = {0};
    kb_err_set(&err, KB_EIO, "no route to host");
    ground(w);
    DO(w, kb_pod_core_image(w->core, 0, &err, "ErrImagePull", now(w), out));
    KB_CHECK_STRN(status(w, "containerStatuses[0].state.waiting.reason"), "ErrImagePull");
    forget(w);
    run(w, 6000);
    KB_CHECK_STRN(status(w, "containerStatuses[0].state.waiting.reason"), "ImagePullBackOff");
    KB_CHECK_STRN(status(w, "containerStatuses[0].state.waiting.message"),
                  "Back-off pulling image \"busybox\": ErrImagePull: no route to host");
    KB_CHECK(!said(w, "image web"));
    run(w, 5000);
    KB_CHECK(said(w, "image web"));
    world_free(w);
}

KB_TEST(pod_core, what_cannot_be_created_waits_and_what_cannot_be_run_counts_as_a_crash)
{
    struct world *w = world_new(ONE);
    struct kb_err err = {0};
    struct kb_rt_container_info info = {.id = "crun://1", .image = "b", .image_id = ""};
    ground(w);
    DO(w, kb_pod_core_image(w->core, 0, NULL, NULL, now(w), out));
    kb_err_set(&err, KB_EFORBIDDEN, "configmap \"x\" not found");
    DO(w, kb_pod_core_started(w->core, 0, 0, &err, &info, now(w), out));
    KB_CHECK_STRN(status(w, "containerStatuses[0].state.waiting.reason"),
                  "CreateContainerConfigError");
    KB_CHECK(said(w, "remove web 0"));
    forget(w);
    DO(w, kb_pod_core_retry(w->core, now(w), out)); /* the ConfigMap has come */
    KB_CHECK(said(w, "image web"));
    DO(w, kb_pod_core_image(w->core, 0, NULL, NULL, now(w), out));
    kb_err_set(&err, KB_EINTERNAL, "exec: \"x\": not found");
    DO(w, kb_pod_core_started(w->core, 0, 1, &err, &info, now(w), out));
    KB_CHECK_STRN(status(w, "containerStatuses[0].state.waiting.reason"), "RunContainerError");
    KB_CHECK_STRN(status(w, "containerStatuses[0].lastState.terminated.reason"), "StartError");
    KB_CHECK_I64(kb_val_int(kb_doc_at(kb_pod_core_status(w->core),
                                      "containerStatuses[0].lastState.terminated.exitCode"),
                            0),
                 ==, 128);
    world_free(w);
}

KB_TEST(pod_core, an_agent_that_comes_back_adopts_and_restarts_nothing)
{
    struct world *w = world_new(ONE);
    struct kb_rt_sandbox_info sandbox = {.ip = "10.1.0.9"};
    struct kb_rt_ref ref = {uid, "web", 4};
    struct kb_rt_container_info info = {.id = "crun://9",
                                        .image = "b",
                                        .image_id = "",
                                        .restarts = 4,
                                        .state = KB_RT_RUNNING,
                                        .started_us = epoch_us};
    DO(w, kb_pod_core_found(w->core, &sandbox, NULL, NULL, now(w), out));
    DO(w, kb_pod_core_found(w->core, NULL, &ref, &info, now(w), out));
    DO(w, kb_pod_core_begin(w->core, now(w), out));
    KB_CHECK(!said(w, "sandbox") && !said(w, "image web"));
    DO(w, kb_pod_core_prepared(w->core, NULL, now(w), out));
    KB_CHECK(!said(w, "sandbox") && !said(w, "image web"));
    KB_CHECK_STRN(status(w, "phase"), "Running");
    KB_CHECK_STRN(status(w, "podIP"), "10.1.0.9");
    KB_CHECK_I64(
        kb_val_int(kb_doc_at(kb_pod_core_status(w->core), "containerStatuses[0].restartCount"), 0),
        ==, 4);
    exits(w, "web", 1);
    KB_CHECK(said(w, "image web"));
    DO(w, kb_pod_core_image(w->core, 0, NULL, NULL, now(w), out));
    KB_CHECK(said(w, "start web 5"));
    world_free(w);
}

#define LOOKED_INTO(more)                                                                          \
    "{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"web\",\"image\":\"busybox\"}]" more  \
    "}"

/* The pod as the API has it now, with containers to look around. */
static void look_into(struct world *w, const char *containers)
{
    KB_AUTO(kb_auto_free)
    char *text = kb_strf(
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"%s\"},\"spec\":" LOOKED_INTO(
            ",\"ephemeralContainers\":[%s]") "}",
        uid, containers);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json(text);
    DO(w, kb_pod_core_update(w->core, doc, now(w), out));
}

KB_TEST(pod_core, a_container_that_looks_around_starts_once_and_ends_with_the_pod)
{
    struct world *w = world_new(LOOKED_INTO(""));
    ground(w);
    started(w, "web");
    look_into(w, "{\"name\":\"a\",\"image\":\"tools\"}");
    KB_CHECK(said(w, "image a"));
    KB_CHECK_STRN(kb_val_str(kb_val_get(kb_pod_core_spec(w->core, at(w, "a")), "image")), "tools");
    started(w, "a");
    KB_CHECK_STRN(status(w, "ephemeralContainerStatuses[0].name"), "a");
    KB_CHECK_STRN(condition(w, "Ready", "status"), "True");
    forget(w);
    exits(w, "a", 1);
    run(w, 60000);
    KB_CHECK(!said(w, "image a"));
    KB_CHECK_STRN(status(w, "phase"), "Running");
    KB_CHECK_STRN(condition(w, "Ready", "status"), "True");
    look_into(w, "{\"name\":\"b\",\"image\":\"more\"},{\"name\":\"a\",\"image\":\"tools\"}");
    KB_CHECK(said(w, "image b") && !said(w, "image a"));
    started(w, "b");
    KB_CHECK_STRN(kb_val_str(kb_val_get(kb_pod_core_spec(w->core, at(w, "b")), "image")), "more");
    exits(w, "web", 0);
    KB_CHECK(said(w, "signal b 15"));
    KB_CHECK_STRN(status(w, "phase"), "Running"); /* it still takes of the node */
    exits(w, "b", 143);
    KB_CHECK_STRN(status(w, "phase"), "Succeeded");
    world_free(w);
}

KB_TEST(pod_core, a_deletion_waits_for_who_looks_around_in_a_pod_that_has_ended)
{
    struct world *w = world_new(LOOKED_INTO(""));
    ground(w);
    started(w, "web");
    look_into(w, "{\"name\":\"a\",\"image\":\"tools\"}");
    started(w, "a");
    exits(w, "web", 0);
    look_into(w, "{\"name\":\"a\",\"image\":\"tools\"},{\"name\":\"b\",\"image\":\"more\"}");
    KB_CHECK(said(w, "signal a 15") && !said(w, "image b"));
    KB_CHECK(!kb_pod_core_over(w->core));
    mark_deleted(w, 30);
    run(w, 29000);
    KB_CHECK(!said(w, "signal a 9") && !said(w, "teardown"));
    run(w, 2000);
    KB_CHECK(said(w, "signal a 9") && !said(w, "teardown"));
    exits(w, "a", 137);
    KB_CHECK(said(w, "teardown"));
    KB_CHECK(kb_pod_core_over(w->core));
    world_free(w);
}

KB_TEST(pod_core, an_image_that_comes_when_the_pod_has_ended_is_not_started)
{
    struct world *w = world_new(LOOKED_INTO(""));
    ground(w);
    started(w, "web");
    look_into(w, "{\"name\":\"a\",\"image\":\"tools\"},{\"name\":\"b\",\"image\":\"more\"}");
    started(w, "a");
    exits(w, "web", 0);
    started(w, "b");
    KB_CHECK(!said(w, "start b 0"));
    exits(w, "a", 0);
    KB_CHECK_STRN(status(w, "phase"), "Succeeded");
    world_free(w);
}

KB_TEST(pod_core, who_cannot_look_around_has_ended)
{
    struct world *w = world_new(ONE);
    struct kb_err err = {0};
    struct kb_rt_container_info info = {.id = "crun://1", .image = "b", .image_id = ""};
    ground(w);
    started(w, "web");
    look_into(w, "{\"name\":\"a\",\"image\":\"tools\"}");
    DO(w, kb_pod_core_image(w->core, at(w, "a"), NULL, NULL, now(w), out));
    kb_err_set(&err, KB_EINTERNAL, "exec: \"nosuchcmd\": not found");
    DO(w, kb_pod_core_started(w->core, at(w, "a"), 0, &err, &info, now(w), out));
    KB_CHECK_STRN(status(w, "ephemeralContainerStatuses[0].state.terminated.reason"), "StartError");
    KB_CHECK_STRN(status(w, "ephemeralContainerStatuses[0].state.terminated.message"),
                  "exec: \"nosuchcmd\": not found");
    KB_CHECK(!kb_val_present(
        kb_doc_at(kb_pod_core_status(w->core), "ephemeralContainerStatuses[0].state.waiting")));
    forget(w);
    run(w, 600000);
    KB_CHECK(!said(w, "image a"));
    world_free(w);
}

KB_TEST(pod_core, a_version_that_is_not_taken_ends_the_pod_all_the_same)
{
    struct world *w = world_new(ONE);
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *bad = json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\"},"
                              "\"spec\":{\"containers\":[{\"name\":\"../up\"}]}}");
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *deleted = json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\","
                                  "\"deletionTimestamp\":\"2023-11-14T22:13:30Z\","
                                  "\"deletionGracePeriodSeconds\":10},"
                                  "\"spec\":{\"containers\":[{\"name\":\"../up\"}]}}");
    ground(w);
    started(w, "web");
    DO(w, kb_pod_core_ends(w->core, kb_doc_root(bad), now(w), out));
    KB_CHECK(!said(w, "signal web 15"));
    DO(w, kb_pod_core_ends(w->core, kb_doc_root(deleted), now(w), out));
    KB_CHECK(said(w, "signal web 15"));
    run(w, 9000);
    KB_CHECK(!said(w, "signal web 9"));
    run(w, 1001);
    KB_CHECK(said(w, "signal web 9"));
    exits(w, "web", 137);
    KB_CHECK(said(w, "teardown"));
    world_free(w);
}

/* A pod that ran and was deleted at the epoch, with 30 seconds of grace, before this agent came. */
static struct world *world_deleted_before(void)
{
    struct world *w = world_new(ONE);
    struct kb_rt_sandbox_info sandbox = {.ip = "10.1.0.9"};
    struct kb_rt_ref ref = {uid, "web", 0};
    struct kb_rt_container_info info = {
        .id = "crun://9", .image = "b", .image_id = "", .state = KB_RT_RUNNING};
    KB_AUTO(kb_auto_free)
    char *text = kb_strf("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"%s\","
                         "\"deletionTimestamp\":\"2023-11-14T22:13:50Z\","
                         "\"deletionGracePeriodSeconds\":30},\"spec\":" ONE "}",
                         uid);
    kb_pod_core_destroy(&w->core);
    kb_doc_destroy(&w->doc);
    w->doc = json(text);
    w->core = kb_pod_core_new(w->doc, &(struct kb_pod_node){.ip = "192.0.2.1"});
    DO(w, kb_pod_core_found(w->core, &sandbox, NULL, NULL, now(w), out));
    DO(w, kb_pod_core_found(w->core, NULL, &ref, &info, now(w), out));
    return w;
}

KB_TEST(pod_core, the_grace_of_a_deletion_goes_on_when_the_agent_comes_back)
{
    struct world *w = world_deleted_before();
    w->ms = 20000;
    DO(w, kb_pod_core_begin(w->core, now(w), out));
    DO(w, kb_pod_core_update(w->core, w->doc, now(w), out)); /* the same once more */
    KB_CHECK(said(w, "signal web 15"));
    run(w, 9000);
    KB_CHECK(!said(w, "signal web 9"));
    run(w, 2000);
    KB_CHECK(said(w, "signal web 9"));
    world_free(w);
}

KB_TEST(pod_core, a_grace_that_is_over_when_the_agent_comes_back_still_lets_term_be_heard)
{
    struct world *w = world_deleted_before();
    w->ms = 3600000;
    DO(w, kb_pod_core_begin(w->core, now(w), out));
    KB_CHECK(said(w, "signal web 15"));
    run(w, 1500);
    KB_CHECK(!said(w, "signal web 9"));
    run(w, 1000);
    KB_CHECK(said(w, "signal web 9"));
    world_free(w);
}

KB_TEST(pod_core, a_deadline_ends_the_pod_as_failed)
{
    struct world *w = world_new("{\"activeDeadlineSeconds\":60,\"terminationGracePeriodSeconds\":1,"
                                "\"containers\":[{\"name\":\"web\",\"image\":\"b\"}]}");
    ground(w);
    started(w, "web");
    run(w, 59000);
    KB_CHECK(!said(w, "signal web 15"));
    run(w, 2000);
    KB_CHECK(said(w, "signal web 15"));
    exits(w, "web", 143);
    KB_CHECK_STRN(status(w, "phase"), "Failed");
    KB_CHECK_STRN(status(w, "reason"), "DeadlineExceeded");
    world_free(w);
}

KB_TEST(pod_core, a_pod_that_the_node_does_not_take_has_failed_and_nothing_of_it_is_made)
{
    struct world *w = world_new(ONE);
    DO(w, kb_pod_core_reject(w->core, "OutOfcpu", "too much", now(w), out));
    KB_CHECK_STRN(status(w, "phase"), "Failed");
    KB_CHECK_STRN(status(w, "reason"), "OutOfcpu");
    KB_CHECK_STRN(status(w, "message"), "Pod was rejected: too much");
    KB_CHECK(said(w, "event OutOfcpu") && !said(w, "prepare"));
    KB_CHECK(kb_pod_core_over(w->core));
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *gone = json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"7d0e\","
                               "\"deletionTimestamp\":\"2023-11-14T22:13:20Z\"},\"spec\":" ONE "}");
    DO(w, kb_pod_core_update(w->core, gone, now(w), out));
    KB_CHECK(said(w, "teardown"));
    DO(w, kb_pod_core_torn_down(w->core, NULL, now(w), out));
    KB_CHECK(said(w, "delete"));
    KB_CHECK(!said(w, "prepare"));
    world_free(w);
}

KB_TEST(pod_core, gates_of_others_hold_the_pods_readiness_back)
{
    static const struct {
        const char *said, *ready, *message;
    } steps[] = {
        {"[]", "False",
         "corresponding condition of pod readiness gate \"a/b\" does not exist., corresponding "
         "condition of pod readiness gate \"c\" does not exist."},
        {"[{\"type\":\"c\",\"status\":\"True\"},{\"type\":\"a/b\",\"status\":\"False\"}]", "False",
         "the status of pod readiness gate \"a/b\" is not \"True\", but False"},
        {"[{\"type\":\"c\",\"status\":\"True\"},{\"type\":\"a/b\",\"status\":\"True\"}]", "True",
         ""},
    };
#define GATED                                                                                      \
    "{\"containers\":[{\"name\":\"web\",\"image\":\"b\"}],\"readinessGates\":[{\"conditionType\":" \
    "\"a/b\"},{\"conditionType\":\"c\"}]}"
    struct world *w = world_new(GATED);
    ground(w);
    started(w, "web");
    for (size_t i = 0; i < KB_COUNT(steps); i++) {
        KB_AUTO(kb_auto_free)
        char *text =
            kb_strf("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"7d0e\"},\"spec\":"
                    "%s,\"status\":{\"conditions\":%s}}",
                    GATED, steps[i].said);
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json(text);
        DO(w, kb_pod_core_update(w->core, doc, now(w), out));
        KB_CHECK_STRN(condition(w, "Ready", "status"), steps[i].ready);
        KB_CHECK_STRN(condition(w, "Ready", "message"), steps[i].message);
        KB_CHECK_STRN(condition(w, "ContainersReady", "status"), "True");
    }
    world_free(w);
}
