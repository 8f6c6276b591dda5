#!/usr/bin/env python3
"""kubectl's commands on objects: what they print, and what they do to the cluster. No containers are needed."""
import base64
import json
import os
import re
import stat
import tempfile

from harness import Case, deployment, main, needs_kubectl, pod, until


class Discovery(Case):
    def test_version(self):
        lines = self.out("version").splitlines()
        self.assertRegex(lines[0], r"^Client Version: .*\bv1\.")
        self.assertRegex(lines[-1], r"^Server Version: .*\bv1\.32\.")
        version = json.loads(self.out("version", "-o", "json"))["serverVersion"]
        self.assertEqual((version["major"], version["minor"]), ("1", "32"))

    def test_api_resources(self):
        lines = self.out("api-resources").splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"])
        table = {(f[0], f[-3]): f for f in (line.split() for line in lines[1:])}
        self.assertEqual(table["deployments", "apps/v1"], ["deployments", "deploy", "apps/v1", "true", "Deployment"])
        self.assertEqual(table["nodes", "v1"], ["nodes", "no", "v1", "false", "Node"])
        self.assertEqual(table["leases", "coordination.k8s.io/v1"][-1], "Lease")
        for plural in "bindings configmaps events namespaces pods replicationcontrollers secrets serviceaccounts " \
                      "services".split():
            self.assertIn((plural, "v1"), table)
        names = self.out("api-resources", "-o", "name", "--namespaced=false").split()
        self.assertIn("namespaces", names)
        self.assertNotIn("pods", names)
        versions = self.out("api-versions").split()
        self.assertIn("v1", versions)
        self.assertIn("apps/v1", versions)

    @needs_kubectl(1, 26, "api-resources --categories")
    def test_categories(self):
        names = self.out("api-resources", "-o", "name", "--categories=all").split()
        self.assertIn("replicasets.apps", names)
        self.assertNotIn("configmaps", names)

    @needs_kubectl(1, 27, "explain by OpenAPI v3")
    def test_explain(self):
        text = self.out("explain", "pod.spec.containers.image")
        self.assertRegex(text, r"(?m)^KIND: +Pod$")
        self.assertRegex(text, r"(?m)^VERSION: +v1$")
        self.assertRegex(text, r"(?m)^FIELD: image <string>$")
        self.assertRegex(text, r"DESCRIPTION:\n +\w")
        text = self.out("explain", "deployments")
        self.assertRegex(text, r"(?m)^GROUP: +apps$")
        self.assertRegex(text, r"(?m)^FIELDS:$")
        self.assertRegex(text, r"(?m)^  spec\t<DeploymentSpec>$")
        text = self.out("explain", "deploy", "--recursive")
        self.assertRegex(text, r"(?m)^ +maxSurge\t<IntOrString>$")
        self.assertRegex(text, r"(?m)^ +terminationGracePeriodSeconds\t<integer>$")
        text = self.out("explain", "deploy.spec.strategy.type")
        self.assertIn("RollingUpdate", text)
        self.assertIn('field "nope" does not exist', self.fails("explain", "pod.spec.nope").err)

    def test_raw(self):
        self.assertEqual(self.out("get", "--raw", "/readyz"), "ok")
        self.assertEqual(self.out("get", "--raw", "/livez"), "ok")
        self.assertEqual(json.loads(self.out("get", "--raw", "/version"))["minor"], "32")
        self.assertRegex(self.out("get", "--raw", "/metrics"), r"(?m)^# TYPE ")


class Create(Case):
    def test_create_of_each_kind(self):
        self.assertEqual(self.out("create", "configmap", "a", "--from-literal=k=v", "--from-literal=l=w"),
                         "configmap/a created\n")
        self.assertEqual(self.get("configmap", "a")["data"], {"k": "v", "l": "w"})
        self.assertEqual(self.out("create", "secret", "generic", "s", "--from-literal=p=geheim"), "secret/s created\n")
        secret = self.get("secret", "s")
        self.assertEqual(base64.b64decode(secret["data"]["p"]), b"geheim")
        self.assertEqual(secret["type"], "Opaque")
        self.assertEqual(self.out("create", "serviceaccount", "sa"), "serviceaccount/sa created\n")
        self.assertEqual(self.out("create", "deployment", "web", "--image=busybox", "--replicas=0", "--port=80", "--",
                                  "sleep", "1d"), "deployment.apps/web created\n")
        self.assertEqual(self.out("create", "service", "clusterip", "web", "--tcp=80:8080"), "service/web created\n")
        port = self.get("service", "web")["spec"]["ports"][0]
        self.assertEqual((port["port"], port["targetPort"], port["protocol"]), (80, 8080, "TCP"))
        self.assertEqual(self.out("expose", "deployment", "web", "--name=web2", "--port=81"), "service/web2 exposed\n")
        self.assertEqual(self.get("service", "web2")["spec"]["selector"], {"app": "web"})

    def test_defaults_are_those_of_kubernetes(self):
        self.apply(pod("p", schedulerName="nobody"))
        spec = self.get("pod", "p")["spec"]
        for field, want in {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "enableServiceLinks": True,
                            "securityContext": {}, "serviceAccountName": "default"}.items():
            self.assertEqual(spec.get(field), want, field)
        container = spec["containers"][0]
        self.assertEqual(container["terminationMessagePath"], "/dev/termination-log")
        self.assertEqual(container["terminationMessagePolicy"], "File")
        self.apply(deployment("d", replicas=0))
        spec = self.get("deployment", "d")["spec"]
        self.assertEqual(spec["strategy"], {"type": "RollingUpdate",
                                            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
        self.assertEqual((spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]), (10, 600))

    def test_create_says_what_is_wrong(self):
        self.k("create", "configmap", "a")
        self.assertIn('configmaps "a" already exists\n', self.fails("create", "configmap", "a").err)
        bad = pod("x")
        bad["spec"]["containers"] = []
        result = self.fails("create", "-f", "-", input=json.dumps(bad))
        self.assertIn('The Pod "x" is invalid: spec.containers: Required value', result.err)
        bad = pod("X_")
        self.assertIn("metadata.name: Invalid value", self.fails("create", "-f", "-", input=json.dumps(bad)).err)
        bad = deployment("d")
        bad["spec"]["replicas"] = "three"
        self.assertIn("cannot unmarshal string into Go struct field",
                      self.fails("create", "-f", "-", "--validate=false", input=json.dumps(bad)).err)
        bad = deployment("d")
        bad["spec"]["selector"] = {"matchLabels": {"app": "other"}}
        self.assertIn("`selector` does not match template `labels`",
                      self.fails("create", "-f", "-", input=json.dumps(bad)).err)
        self.assertIn('namespaces "no-such" not found', self.fails("create", "configmap", "b", "-n", "no-such").err)

    @needs_kubectl(1, 27, "validation by OpenAPI v3")
    def test_a_kind_that_is_not_served(self):
        for version, kind in ("apps/v1", "StatefulSet"), ("batch/v1", "Job"), ("v1", "Nothing"):
            body = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}
            result = self.fails("apply", "-f", "-", input=json.dumps(body))
            self.assertIn(f'no matches for kind "{kind}" in version "{version}"', result.err)

    @needs_kubectl(1, 25, "validation by the server")
    def test_an_unknown_field_is_refused(self):
        self.assertIn('strict decoding error: unknown field "spec.nope"',
                      self.fails("create", "-f", "-", input=json.dumps(pod("x", nope=1))).err)

    def test_a_pod_needs_its_service_account(self):
        body = json.dumps(pod("p", schedulerName="nobody", serviceAccountName="robot"))
        self.assertIn('pods "p" is forbidden: error looking up service account '
                      f'{self.ns}/robot: serviceaccount "robot" not found', self.fails("create", "-f", "-", input=body).err)
        self.apply(deployment("web", serviceAccountName="robot", schedulerName="nobody"))
        until(lambda: 'serviceaccount "robot" not found' in self.out("describe", "rs"), what="the event FailedCreate")
        self.k("create", "serviceaccount", "robot")
        self.assertEqual(self.out("create", "-f", "-", input=body), "pod/p created\n")
        until(lambda: len(self.out("get", "pods", "-o", "name").split()) > 1, what="the deployment's pods")

    def test_dry_run_changes_nothing(self):
        self.assertEqual(self.out("create", "configmap", "a", "--dry-run=server"),
                         "configmap/a created (server dry run)\n")
        self.assertIn("NotFound", self.fails("get", "configmap", "a").err)
        text = self.out("create", "configmap", "a", "--dry-run=client", "-o", "yaml")
        self.assertIn("kind: ConfigMap", text)

    def test_generate_name(self):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}}
        name = self.out("create", "-f", "-", "-o", "name", input=json.dumps(body)).strip()
        self.assertRegex(name, r"^configmap/g-[a-z0-9]{5}$")


class Apply(Case):
    def test_apply_creates_configures_and_leaves(self):
        d = deployment("web", replicas=0)
        body = json.dumps(d)
        self.assertEqual(self.out("apply", "-f", "-", input=body), "deployment.apps/web created\n")
        self.assertEqual(self.out("apply", "-f", "-", input=body), "deployment.apps/web unchanged\n")
        d["metadata"]["labels"]["new"] = "yes"
        d["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
        self.assertEqual(self.out("apply", "-f", "-", input=json.dumps(d)), "deployment.apps/web configured\n")
        self.assertEqual(self.get("deployment", "web")["metadata"]["generation"], 2)
        del d["spec"]["template"]["spec"]["containers"][0]["env"]
        self.k("apply", "-f", "-", input=json.dumps(d))
        self.assertNotIn("env", self.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0])

    def test_apply_of_a_file_with_several_documents(self):
        text = "".join(f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{i}}}\ndata: {{i: \"{i}\"}}\n"
                       for i in range(3))
        self.assertEqual(self.out("apply", "-f", "-", input=text),
                         "configmap/c0 created\nconfigmap/c1 created\nconfigmap/c2 created\n")
        self.assertEqual(self.out("delete", "-f", "-", input=text),
                         'configmap "c0" deleted\nconfigmap "c1" deleted\nconfigmap "c2" deleted\n')


class Change(Case):
    def setUp(self):
        super().setUp()
        self.apply(deployment("web", replicas=0))

    def edit(self, script, *args, **options):
        with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as f:
            f.write(f"#!/bin/sh\n{script}\n")
        os.chmod(f.name, stat.S_IRWXU)
        self.addCleanup(os.unlink, f.name)
        return self.k("edit", *args, env={"KUBE_EDITOR": f.name}, **options)

    def test_edit(self):
        result = self.edit("sed -i 's/minReadySeconds: .*/&/; s/^  revisionHistoryLimit: .*/  revisionHistoryLimit: 3/' $1",
                           "deployment", "web")
        self.assertEqual(result.out, "deployment.apps/web edited\n")
        self.assertEqual(self.path("deployment/web", ".spec.revisionHistoryLimit"), "3")
        result = self.edit("true", "deployment", "web")
        self.assertEqual(result.out + result.err, "Edit cancelled, no changes made.\n")

    def test_patches_of_three_types(self):
        env = {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]}}}}
        self.assertEqual(self.out("patch", "deployment", "web", "-p", json.dumps(env)), "deployment.apps/web patched\n")
        container = self.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual((container["image"], container["env"]), ("busybox", [{"name": "A", "value": "1"}]))
        self.assertEqual(self.out("patch", "deployment", "web", "-p", json.dumps(env)),
                         "deployment.apps/web patched (no change)\n")
        self.k("patch", "deployment", "web", "--type=merge", "-p",
               '{"spec":{"minReadySeconds":4},"metadata":{"labels":{"app":null}}}')
        self.assertEqual(self.path("deployment/web", ".spec.minReadySeconds"), "4")
        self.assertNotIn("labels", self.get("deployment", "web")["metadata"])
        self.k("patch", "deployment", "web", "--type=json", "-p",
               '[{"op":"test","path":"/spec/minReadySeconds","value":4},'
               '{"op":"replace","path":"/spec/minReadySeconds","value":5}]')
        self.assertEqual(self.path("deployment/web", ".spec.minReadySeconds"), "5")
        nothing = [{"op": "remove", "path": "/spec/nope"}]
        result = self.fails("patch", "deployment", "web", "--type=json", "-p", json.dumps(nothing))
        self.assertIn("The request is invalid", result.err)
        status, answer = self.c.here.request("PATCH", f"/apis/apps/v1/namespaces/{self.ns}/deployments/web", nothing,
                                             content_type="application/json-patch+json")
        self.assertEqual(status, 422)
        self.assertIn("the server rejected our request due to an error in our request", answer["message"])
        self.assertIn("field is immutable", self.fails("patch", "deployment", "web", "--type=merge", "-p",
                                                       '{"spec":{"selector":{"matchLabels":{"x":"y"}},"template":'
                                                       '{"metadata":{"labels":{"x":"y"}}}}}').err)

    def test_label_and_annotate(self):
        self.assertEqual(self.out("label", "deployment", "web", "tier=front"), "deployment.apps/web labeled\n")
        self.assertIn("already has a value (front), and --overwrite is false",
                      self.fails("label", "deployment", "web", "tier=back").err)
        self.k("label", "deployment", "web", "tier=back", "--overwrite")
        self.assertEqual(self.out("get", "deployment", "-l", "tier in (back)", "-o", "name"), "deployment.apps/web\n")
        self.assertEqual(self.out("get", "deployment", "-l", "tier=front", "-o", "name"), "")
        self.assertRegex(self.out("label", "deployment", "web", "tier-"), r"^deployment\.apps/web (un)?labeled\n$")
        self.assertEqual(self.out("get", "deployment", "-l", "tier", "-o", "name"), "")
        self.assertEqual(self.out("annotate", "deployment", "web", "note=x y"), "deployment.apps/web annotated\n")
        self.assertEqual(self.path("deployment/web", ".metadata.annotations.note"), "x y")

    def test_scale(self):
        self.assertEqual(self.out("scale", "deployment", "web", "--replicas=2"), "deployment.apps/web scaled\n")
        self.assertEqual(self.path("deployment/web", ".spec.replicas"), "2")
        self.assertIn("Expected replicas to be 7, was 2",
                      self.fails("scale", "deployment", "web", "--replicas=1", "--current-replicas=7").err)
        self.k("scale", "deployment", "web", "--replicas=0")

    @needs_kubectl(1, 24, "get --subresource")
    def test_a_scale_is_shown_as_one(self):
        lines = self.out("get", "deployment", "web", "--subresource=scale").splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "DESIRED", "AVAILABLE", "AGE"])
        self.assertRegex(lines[1], r"^web +0 +0 +\S+$")

    def test_a_pod_stays_what_it_is(self):
        self.apply(pod("p", schedulerName="nobody"))
        for spec in {"terminationGracePeriodSeconds": 3}, {"hostname": "h"}, {"containers": [{"name": "main", "tty": True}]}:
            result = self.fails("patch", "pod", "p", "-p", json.dumps({"spec": spec}))
            self.assertIn('The Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than', result.err)
        self.k("patch", "pod", "p", "-p", '{"spec":{"containers":[{"name":"main","image":"other"}],"activeDeadlineSeconds":9}}')

    def test_replace_with_an_old_version_conflicts(self):
        old = self.get("deployment", "web")
        self.k("annotate", "deployment", "web", "a=b")
        old["spec"]["minReadySeconds"] = 1
        self.assertIn("the object has been modified", self.fails("replace", "-f", "-", input=json.dumps(old)).err)


class Get(Case):
    def setUp(self):
        super().setUp()
        self.apply(*[{"apiVersion": "v1", "kind": "ConfigMap", "data": {"num": str(i)},
                      "metadata": {"name": f"c{i}", "labels": {"odd": str(i % 2)}}} for i in range(5)])

    def names(self, *args):
        return [n.removeprefix("configmap/") for n in self.out("get", "cm", "-o", "name", *args).split()]

    def mine(self, *args):
        return [n for n in self.names(*args) if n != "kube-root-ca.crt"]

    def test_outputs(self):
        lines = self.out("get", "cm", "c0", "c1").splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "DATA", "AGE"])
        self.assertRegex(lines[1], r"^c0 +1 +\d+s$")
        self.assertEqual(len(lines), 3)
        self.assertRegex(self.out("get", "cm", "c1", "--no-headers", "--show-labels"), r"^c1 +1 +\d+s +odd=1\n$")
        self.assertRegex(self.out("get", "cm", "c1", "-L", "odd"), r"(?m)^NAME +DATA +AGE +ODD$")
        self.assertEqual(self.out("get", "cm", "c3", "-o", "jsonpath={.data.num} {.metadata.name}"), "3 c3")
        self.assertEqual(self.out("get", "cm", "c3", "-o", "name"), "configmap/c3\n")
        lines = self.out("get", "cm", "c2", "c3", "-o", "custom-columns=WHO:.metadata.name,N:.data.num").splitlines()
        self.assertEqual([line.split() for line in lines], [["WHO", "N"], ["c2", "2"], ["c3", "3"]])
        text = self.out("get", "cm", "c4", "-o", "yaml")
        self.assertRegex(text, r"(?m)^apiVersion: v1\ndata:\n  num: \"4\"\nkind: ConfigMap\nmetadata:")
        one = json.loads(self.out("get", "cm", "c4", "-o", "json"))
        for field in ("uid", "resourceVersion", "creationTimestamp"):
            self.assertTrue(one["metadata"][field], field)
        self.assertEqual(self.out("get", "cm", "c4", "-o", "go-template={{.data.num}}"), "4")

    def test_selection(self):
        self.assertEqual(self.mine("-l", "odd=1"), ["c1", "c3"])
        self.assertEqual(self.mine("-l", "odd!=1"), ["c0", "c2", "c4"])
        self.assertEqual(self.mine("-l", "odd notin (0)"), ["c1", "c3"])
        self.assertEqual(self.mine("--field-selector", "metadata.name=c2"), ["c2"])
        self.assertEqual(self.mine("--chunk-size=2"), ["c0", "c1", "c2", "c3", "c4"])
        self.assertEqual(self.mine("--sort-by={.data.num}", "-l", "odd=0"), ["c0", "c2", "c4"])
        self.assertIn(self.ns, self.c.kubectl("get", "cm", "-A", "--no-headers").out)

    def test_errors(self):
        self.assertEqual(self.fails("get", "cm", "nope").err,
                         'Error from server (NotFound): configmaps "nope" not found\n')
        self.assertEqual(self.fails("get", "nopes").err,
                         'error: the server doesn\'t have a resource type "nopes"\n')
        self.assertIn("No resources found", self.k("get", "pods").err)
        self.assertIn("field label not supported", self.fails("get", "cm", "--field-selector", "data.num=1").err)

    def test_watch(self):
        with self.c.stream("-n", self.ns, "get", "cm", "-l", "odd=1", "-w") as watch:
            watch.expect(r"^NAME +DATA +AGE$")
            at = watch.expect(r"^c3 +1 ")
            self.k("create", "configmap", "late")
            self.k("label", "configmap", "late", "odd=1")
            at = watch.expect(r"^late +0 ", after=at + 1)
            self.k("patch", "configmap", "c1", "-p", '{"data":{"x":"y"}}')
            watch.expect(r"^c1 +2 ", after=at + 1)
        with self.c.stream("-n", self.ns, "get", "cm", "c0", "-w", "-o", "json", "--output-watch-events") as watch:
            watch.expect(r'"type":"ADDED"')
            self.k("delete", "configmap", "c0")
            watch.expect(r'"type":"DELETED"')

    def test_wide_and_kinds(self):
        nodes = self.out("get", "nodes", "-o", "wide").splitlines()
        self.assertEqual(re.split(r" {2,}", nodes[0].strip()),
                         ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE",
                          "KERNEL-VERSION", "CONTAINER-RUNTIME"])
        self.assertEqual(nodes[1].split()[1], "Ready")
        self.apply(deployment("web", replicas=0))
        wide = self.out("get", "deployments", "-o", "wide").splitlines()
        self.assertEqual(wide[0].split(), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES",
                                           "SELECTOR"])
        self.assertRegex(wide[1], r"^web +0/0 +0 +0 +\S+ +main +busybox +app=web$")
        self.assertRegex(self.c.kubectl("get", "ns", self.ns).out, rf"(?m)^{self.ns} +Active +\d")
        self.assertRegex(self.c.kubectl("get", "leases", "-A").out, r"(?m)^kube-node-lease +\S+ +\S+ +\d")
        self.assertIn("deployment.apps/web", self.out("get", "all"))
        pods = self.apply(pod("p", schedulerName="nobody"))
        self.assertEqual(pods.out, "pod/p created\n")
        lines = self.out("get", "pods", "-o", "wide").splitlines()
        self.assertEqual(re.split(r" {2,}", lines[0].strip()),
                         ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE",
                          "READINESS GATES"])
        self.assertRegex(lines[1], r"^p +0/1 +Pending +0 +\S+ +<none> +<none> +<none> +<none>$")


class Describe(Case):
    def test_describe(self):
        self.apply(deployment("web", replicas=0), pod("p", schedulerName="nobody"))
        text = self.out("describe", "pod", "p")
        self.assertRegex(text, r"(?m)^Name: +p$")
        self.assertRegex(text, rf"(?m)^Namespace: +{self.ns}$")
        self.assertRegex(text, r"(?m)^Status: +Pending$")
        self.assertRegex(text, r"(?m)^    Image: +busybox$")
        self.assertRegex(text, r"(?m)^QoS Class: +BestEffort$")
        text = self.out("describe", "deployment", "web")
        self.assertRegex(text, r"(?m)^Selector: +app=web$")
        self.assertRegex(text, r"(?m)^StrategyType: +RollingUpdate$")
        self.assertRegex(text, r"(?m)^RollingUpdateStrategy: +25% max unavailable, 25% max surge$")
        node = self.c.get("nodes")["items"][0]["metadata"]["name"]
        text = self.c.kubectl("describe", "node", node).out
        self.assertRegex(text, r"(?m)^Capacity:$")
        self.assertRegex(text, r"(?m)^  Ready +True ")
        self.k("create", "configmap", "c", "--from-literal=k=v")
        self.assertRegex(self.out("describe", "cm", "c"), r"(?m)^k:\n----\nv\n")
        self.k("create", "secret", "generic", "s", "--from-literal=k=v")
        self.assertRegex(self.out("describe", "secret", "s"), r"(?m)^k: +1 bytes$")
        self.assertRegex(self.c.kubectl("describe", "ns", self.ns).out, r"(?m)^Status: +Active$")


class Delete(Case):
    def test_delete(self):
        for name in ("a", "b", "c", "d"):
            self.k("create", "configmap", name)
        self.k("label", "configmap", "c", "d", "x=y")
        self.assertEqual(self.out("delete", "configmap", "a"), 'configmap "a" deleted\n')
        self.assertIn('configmaps "a" not found', self.fails("delete", "configmap", "a").err)
        self.assertEqual(self.out("delete", "configmap", "a", "--ignore-not-found"), "")
        self.assertEqual(self.out("delete", "cm", "-l", "x=y").splitlines(),
                         ['configmap "c" deleted', 'configmap "d" deleted'])
        self.k("delete", "cm", "--all")
        self.assertIn("NotFound", self.fails("get", "cm", "b").err)

    def test_finalizers_hold_an_object(self):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "f", "finalizers": ["example.com/x"]}}
        self.k("create", "-f", "-", input=json.dumps(body))
        self.k("delete", "configmap", "f", "--wait=false")
        self.assertTrue(self.get("configmap", "f")["metadata"]["deletionTimestamp"])
        self.k("patch", "configmap", "f", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        self.assertIn("NotFound", self.fails("get", "configmap", "f").err)

    def test_a_namespace_takes_everything_with_it(self):
        ns = self.ns + "-x"
        self.c.kubectl("create", "namespace", ns)
        self.c.kubectl("-n", ns, "create", "configmap", "a")
        self.c.apply(deployment("web", replicas=0), namespace=ns)
        self.assertEqual(self.c.kubectl("delete", "namespace", ns, timeout=90).out, f'namespace "{ns}" deleted\n')
        self.assertIn("NotFound", self.c.kubectl("get", "ns", ns, check=False).err)
        self.assertEqual(self.c.kubectl("-n", ns, "get", "cm,deployments", "-o", "name").out, "")

    def test_owners_and_dependents(self):
        self.apply(deployment("web", replicas=1, schedulerName="nobody"))
        until(lambda: self.out("get", "pods", "-o", "name"), what="the deployment's pod")
        self.k("delete", "deployment", "web", "--cascade=orphan")
        self.assertEqual(len(self.out("get", "rs", "-o", "name").split()), 1)
        until(lambda: "ownerReferences" not in self.get("rs")["items"][0]["metadata"], what="an orphaned ReplicaSet")
        self.k("delete", "rs", "--all")
        until(lambda: not self.out("get", "pods", "-o", "name"), what="the end of the pods")


class Nodes(Case):
    def test_a_node_lists_its_images_with_digest_names_and_size(self):
        def images():
            return self.c.get("nodes")["items"][0]["status"].get("images", [])

        until(lambda: any("docker.io/library/busybox:latest" in i["names"] for i in images()), 60, "busybox listed")
        for image in images():
            self.assertRegex(image["names"][0], r"^docker\.io/.+@sha256:[0-9a-f]{64}$")
            self.assertEqual(len(set(image["names"])), len(image["names"]))
            self.assertGreater(image["sizeBytes"], 100_000)

    def until_told(self, node, reason):
        until(lambda: re.search(rf"(?m)^  Normal +{reason} .* kubelet ", self.c.kubectl("describe", "node", node).out),
              what=f"the event {reason} of the node")

    def test_cordon_and_taint(self):
        node = self.c.get("nodes")["items"][0]["metadata"]["name"]
        self.assertEqual(self.c.kubectl("cordon", node).out, f"node/{node} cordoned\n")
        try:
            self.assertRegex(self.c.kubectl("get", "node", node).out, r" Ready,SchedulingDisabled ")
            for reason in "Starting", "NodeReady", "NodeNotSchedulable":
                self.until_told(node, reason)
            self.assertIn("NodeNotSchedulable", self.c.kubus("describe", "node", node).out)
        finally:
            self.assertEqual(self.c.kubectl("uncordon", node).out, f"node/{node} uncordoned\n")
        self.until_told(node, "NodeSchedulable")
        self.assertEqual(self.c.kubectl("taint", "node", node, "a=b:PreferNoSchedule").out, f"node/{node} tainted\n")
        self.assertEqual(self.c.kubectl("taint", "node", node, "a-").out, f"node/{node} untainted\n")


if __name__ == "__main__":
    main("objects")
