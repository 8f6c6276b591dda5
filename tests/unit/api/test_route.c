#include "actors/api/accept.h"
#include "actors/api/fields.h"
#include "actors/api/route.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

static struct kb_route find(const char *path)
{
    static struct kb_kinds *kinds;
    kb_str rest = kb_str_of(path), segments[16];
    size_t n = 0;
    if (kinds == NULL)
        kinds = kb_kinds_builtin();
    while (rest.p) {
        kb_str segment = kb_str_cut(&rest, '/');
        if (segment.n)
            segments[n++] = segment;
    }
    return kb_route_find(kinds, segments, n);
}

KB_TEST(route, finds_what_every_kind_of_path_means)
{
    static const struct {
        const char *path;
        enum kb_route_type type;
        const char *resource, *ns, *name, *subresource;
    } cases[] = {
        {"/", KB_ROUTE_INDEX, "", "", "", ""},
        {"/api", KB_ROUTE_API_VERSIONS, "", "", "", ""},
        {"/apis", KB_ROUTE_API_GROUPS, "", "", "", ""},
        {"/api/v1", KB_ROUTE_API_RESOURCES, "", "", "", ""},
        {"/apis/apps", KB_ROUTE_API_GROUP, "", "", "", ""},
        {"/apis/apps/v1", KB_ROUTE_API_RESOURCES, "", "", "", ""},
        {"/api/v1/pods", KB_ROUTE_OBJECTS, "pods", "", "", ""},
        {"/api/v1/namespaces", KB_ROUTE_OBJECTS, "namespaces", "", "", ""},
        {"/api/v1/namespaces/shop", KB_ROUTE_OBJECT, "namespaces", "", "shop", ""},
        {"/api/v1/namespaces/shop/finalize", KB_ROUTE_OBJECT, "namespaces", "", "shop", "finalize"},
        {"/api/v1/namespaces/shop/pods", KB_ROUTE_OBJECTS, "pods", "shop", "", ""},
        {"/api/v1/namespaces/shop/pods/a", KB_ROUTE_OBJECT, "pods", "shop", "a", ""},
        {"/api/v1/namespaces/shop/pods/a/log", KB_ROUTE_OBJECT, "pods", "shop", "a", "log"},
        {"/apis/apps/v1/namespaces/s/deployments/d/scale", KB_ROUTE_OBJECT, "deployments.apps", "s",
         "d", "scale"},
        {"/api/v1/nodes/n1", KB_ROUTE_OBJECT, "nodes", "", "n1", ""},
        {"/openapi/v3", KB_ROUTE_OPENAPI_INDEX, "", "", "", ""},
        {"/openapi/v3/apis/apps/v1", KB_ROUTE_OPENAPI, "", "", "", ""},
        {"/readyz/store", KB_ROUTE_HEALTH, "", "", "store", "readyz"},
        {"/version", KB_ROUTE_VERSION, "", "", "", ""},
        {"/metrics", KB_ROUTE_METRICS, "", "", "", ""},
        {"/apis/apiextensions.k8s.io/v1/customresourcedefinitions", KB_ROUTE_NO_CRDS, "", "", "",
         ""},
        {"/apis/apiextensions.k8s.io/v1/nothings", KB_ROUTE_UNKNOWN, "", "", "", ""},
        {"/api/v1/pods/a", KB_ROUTE_UNKNOWN, "", "", "", ""},
        {"/api/v1/namespaces/s/nodes", KB_ROUTE_UNKNOWN, "", "", "", ""},
        {"/api/v1/unicorns", KB_ROUTE_UNKNOWN, "", "", "", ""},
        {"/api/v2/pods", KB_ROUTE_UNKNOWN, "", "", "", ""},
        {"/openapi/v2", KB_ROUTE_OPENAPI_V2, "", "", "", ""},
        {"/nonsense", KB_ROUTE_UNKNOWN, "", "", "", ""},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        struct kb_route route = find(cases[i].path);
        if (route.type != cases[i].type)
            kb_test_fail(__FILE__, __LINE__, "%s is %d, not %d", cases[i].path, route.type,
                         cases[i].type);
        KB_CHECK_STRN(route.kind ? route.kind->resource : (kb_str){0}, cases[i].resource);
        KB_CHECK_STRN(route.ns, cases[i].ns);
        KB_CHECK_STRN(route.name, cases[i].name);
        KB_CHECK_STRN(route.subresource, cases[i].subresource);
    }
}

KB_TEST(route, names_the_verb)
{
    struct kb_route list = find("/api/v1/pods"), one = find("/api/v1/nodes/a"),
                    version = find("/version");
    KB_CHECK_STR(kb_route_verb(&list, kb_str_of("GET"), false).word, "list");
    KB_CHECK_STR(kb_route_verb(&list, kb_str_of("GET"), true).word, "watch");
    KB_CHECK_STR(kb_route_verb(&list, kb_str_of("DELETE"), false).word, "deletecollection");
    KB_CHECK_STR(kb_route_verb(&list, kb_str_of("POST"), false).word, "create");
    KB_CHECK_U64(kb_route_verb(&list, kb_str_of("PUT"), false).verb, ==, 0);
    KB_CHECK_STR(kb_route_verb(&one, kb_str_of("PATCH"), false).word, "patch");
    KB_CHECK_STR(kb_route_verb(&one, kb_str_of("HEAD"), false).word, "get");
    KB_CHECK_U64(kb_route_verb(&one, kb_str_of("POST"), false).verb, ==, 0);
    KB_CHECK_STR(kb_route_verb(&version, kb_str_of("GET"), false).word, "get");
}

static int form(const char *header, unsigned forms)
{
    struct kb_accept accept;
    return kb_accept_parse(kb_str_of(header), forms, &accept) ? (int)accept.form : -1;
}

KB_TEST(accept, takes_the_first_form_that_can_be_served)
{
    unsigned table = 1u << KB_FORM_TABLE, discovery = 1u << KB_FORM_DISCOVERY;
    const char *kubectl =
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;"
        "g=meta.k8s.io,application/json";
    KB_CHECK_I64(form(kubectl, table), ==, KB_FORM_TABLE);
    KB_CHECK_I64(form(kubectl, 0), ==, KB_FORM_OBJECT);
    KB_CHECK_I64(form("", 0), ==, KB_FORM_OBJECT);
    KB_CHECK_I64(form("*/*", table), ==, KB_FORM_OBJECT);
    KB_CHECK_I64(form("application/vnd.kubernetes.protobuf, application/json;q=0.5", 0), ==,
                 KB_FORM_OBJECT);
    KB_CHECK_I64(form("application/vnd.kubernetes.protobuf", 0), ==, -1);
    KB_CHECK_I64(form("text/html", 0), ==, -1);
    KB_CHECK_I64(form("application/json;as=Table;v=v9;g=meta.k8s.io", table), ==, -1);
    KB_CHECK_I64(
        form("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", discovery), ==,
        KB_FORM_DISCOVERY);
}

static struct kb_selection selection(const char *plural, const char *ns, const char *labels,
                                     const char *fields, int want)
{
    struct kb_selection s = {0};
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("/api/v1/%s", plural);
    int rc = kb_selection_parse(find(path).kind, kb_str_of(ns), kb_str_of(labels),
                                kb_str_of(fields), &s, &err);
    KB_CHECK_I64(rc, ==, want);
    return s;
}

static void check_view(const char *ns, const char *labels, const char *fields, const char *view,
                       bool exact)
{
    KB_AUTO(kb_selection_finish) struct kb_selection s = selection("pods", ns, labels, fields, 0);
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    bool is_exact;
    kb_selection_view(&s, &out, &is_exact);
    KB_CHECK_STR(out.p, view);
    KB_CHECK_I64(is_exact, ==, exact);
}

KB_TEST(fields, become_the_narrowest_view)
{
    check_view("", "", "", "pods", true);
    check_view("shop", "", "", "pods?ns=shop", true);
    check_view("shop", "a=b,c!=d", "", "pods?labels=a%3Db%2Cc%21%3Dd&ns=shop", true);
    check_view("", "", "metadata.name=x", "pods?name=x", true);
    check_view("", "", "spec.nodeName=n1", "pods?node=n1", true);
    check_view("", "", "spec.nodeName!=n1", "pods", false);
    check_view("shop", "", "spec.nodeName=n1,status.phase!=Failed", "pods?node=n1&ns=shop", false);
}

KB_TEST(fields, match_the_rest_here)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *pod = NULL;
    kb_json_doc(kb_str_of("{\"metadata\":{\"name\":\"x\",\"labels\":{\"a\":\"b\"}},\"status\":{"
                          "\"phase\":\"Running\"}}"),
                &pod, NULL);
    static const struct {
        const char *labels, *fields;
        bool match;
    } cases[] = {
        {"", "status.phase=Running", true}, {"", "status.phase!=Running", false},
        {"a=b", "metadata.name=x", true},   {"a=c", "", false},
        {"", "spec.nodeName=", true},       {"", "metadata.name=x,status.phase=Failed", false}};
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_selection_finish)
        struct kb_selection s = selection("pods", "", cases[i].labels, cases[i].fields, 0);
        KB_CHECK_I64(kb_selection_match(&s, kb_doc_root(pod)), ==, cases[i].match);
    }
    selection("pods", "", "", "spec.unicorn=1", -KB_EINVAL);
    selection("pods", "", "a in (", "", -KB_EINVAL);
}
