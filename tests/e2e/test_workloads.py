#!/usr/bin/env python3
"""kubectl's commands on running workloads: run, rollouts, logs, exec, wait; and the sample application."""
import json
import os
import re
import time
import urllib.request

from harness import STAY, TOP, Case, deployment, main, make_image, needs_kubectl, pod, until

WEBSOCKET = needs_kubectl(1, 31, "exec or attach over a WebSocket")  # older ones use SPDY
V1, V2, BAD = "e2e.local/web:v1", "e2e.local/web:v2", "e2e.local/none:v1"


def images(folder):
    return [make_image(os.path.join(folder, f"web-{v}.tar"), f"e2e.local/web:{v}", {"/version": f"{v}\n"})
            for v in ("v1", "v2")]


class Sample(Case):
    def test_the_sample_serves_its_page_from_pod_addresses(self):
        self.k("apply", "-f", os.path.join(TOP, "docs", "sample.yaml"))
        self.assertIn('deployment "hello" successfully rolled out',
                      self.out("rollout", "status", "deployment/hello", "--timeout=120s"))
        for item in self.get("pods", "-l", "app=hello")["items"]:
            url = f"http://{item['status']['podIP']}:8080/"
            with urllib.request.urlopen(url, timeout=10) as page:
                self.assertIn(f"Hello from {item['metadata']['name']}", page.read().decode())


class Run(Case):
    def test_run_to_the_end(self):
        self.assertEqual(self.out("run", "job", "--image=busybox", "--image-pull-policy=IfNotPresent",
                                  "--restart=Never", "--env=WHO=world", "--", "sh", "-c", "echo hello $WHO; exit 0"),
                         "pod/job created\n")
        self.until_path("pod/job", ".status.phase", "Succeeded")
        self.assertEqual(self.out("logs", "job"), "hello world\n")
        self.assertRegex(self.out("get", "pod", "job"), r"(?m)^job +0/1 +Completed +0 ")
        status = self.get("pod", "job")["status"]["containerStatuses"][0]
        self.assertEqual(status["state"]["terminated"]["exitCode"], 0)
        self.assertEqual(status["state"]["terminated"]["reason"], "Completed")

    def test_failure_and_exit_code(self):
        self.apply(pod("bad", ["sh", "-c", "echo last words > /dev/termination-log; exit 3"], restartPolicy="Never"))
        self.until_path("pod/bad", ".status.phase", "Failed")
        ended = self.get("pod", "bad")["status"]["containerStatuses"][0]["state"]["terminated"]
        self.assertEqual((ended["exitCode"], ended["reason"], ended["message"]), (3, "Error", "last words\n"))
        self.assertRegex(self.out("get", "pod", "bad"), r"(?m)^bad +0/1 +Error +0 ")

    def test_init_containers_and_volumes(self):
        body = pod("init", ["sh", "-c", "cat /one /a/made /c/key /s/pw; echo $KEY; exec " + " ".join(["sleep", "86400"])],
                   initContainers=[{"name": "i", "image": "busybox", "imagePullPolicy": "IfNotPresent",
                                    "command": ["sh", "-c", "echo made by init > /a/made"],
                                    "volumeMounts": [{"name": "a", "mountPath": "/a"}]}],
                   container={"volumeMounts": [{"name": n, "mountPath": f"/{n}"} for n in "acs"] +
                                             [{"name": "a", "mountPath": "/one", "subPath": "made"}],
                              "env": [{"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "key"}}}]},
                   volumes=[{"name": "a", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}},
                            {"name": "s", "secret": {"secretName": "s"}}])
        self.k("create", "configmap", "c", "--from-literal=key=from-config\n")
        self.k("create", "secret", "generic", "s", "--from-literal=pw=from-secret\n")
        self.apply(body)
        self.k("wait", "pod/init", "--for=condition=Ready", "--timeout=120s")
        until(lambda: self.out("logs", "init").count("\n") >= 5, what="five lines")
        self.assertEqual(self.out("logs", "init").split("\n")[:4],
                         ["made by init", "made by init", "from-config", "from-secret"])

    def test_what_takes_more_disk_than_it_may_is_evicted(self):
        fill = "dd if=/dev/zero of={} bs=1M count=5; " + " ".join(STAY[2:])
        self.apply(pod("volume", ["sh", "-c", fill.format("/e/x")], volumes=[{"name": "e", "emptyDir": {"sizeLimit": "1Mi"}}],
                       container={"volumeMounts": [{"name": "e", "mountPath": "/e"}]}),
                   pod("layer", ["sh", "-c", fill.format("/x")],
                       container={"resources": {"limits": {"ephemeral-storage": "2Mi"}}}),
                   pod("modest", container={"resources": {"limits": {"ephemeral-storage": "9Mi"}}}))
        for name, message in (("volume", 'Usage of EmptyDir volume "e" exceeds the limit "1Mi". '),
                              ("layer", 'Container main exceeded its local ephemeral storage limit "2Mi". ')):
            self.until_path(f"pod/{name}", ".status.reason", "Evicted")
            status = self.get("pod", name)["status"]
            self.assertEqual((status["phase"], status["message"]), ("Failed", message))
            until(lambda: "Evicted" in self.events(name), what="the event")
        self.until_path("pod/modest", ".status.phase", "Running")

    def test_an_image_that_cannot_be_had(self):
        self.apply(pod("none", image=BAD, container={"imagePullPolicy": "Never"}))
        until(lambda: "ErrImageNeverPull" in self.out("get", "pod", "none"), what="ErrImageNeverPull")
        self.assertIn("Warning", self.events("none"))


class Rollout(Case):
    def rolled_out(self, name="web"):
        self.assertIn(f'deployment "{name}" successfully rolled out',
                      self.out("rollout", "status", f"deployment/{name}", "--timeout=120s"))

    def versions(self):
        """What the pods that are not ending say."""
        pods = [p for p in self.get("pods", "-l", "app=web")["items"] if "deletionTimestamp" not in p["metadata"]]
        return [self.exec(p["metadata"]["name"], "cat", "/version").strip() for p in pods]

    def test_update_history_and_undo(self):
        self.apply(deployment("web", 3, image=V1))
        self.rolled_out()
        self.assertEqual(self.versions(), ["v1"] * 3)
        self.k("annotate", "deployment/web", "kubernetes.io/change-cause=first")
        self.assertEqual(self.out("set", "image", "deployment/web", f"main={V2}"), "deployment.apps/web image updated\n")
        self.rolled_out()
        self.assertEqual(self.versions(), ["v2"] * 3)
        self.k("annotate", "deployment/web", "kubernetes.io/change-cause=second")
        until(lambda: "second" in self.out("rollout", "history", "deployment/web"), what="the second change cause")
        lines = self.out("rollout", "history", "deployment/web").splitlines()
        self.assertEqual(lines[0].strip(), "deployment.apps/web")
        self.assertEqual([line.split() for line in lines[1:] if line],
                         [["REVISION", "CHANGE-CAUSE"], ["1", "first"], ["2", "second"]])
        self.assertIn(V1, self.out("rollout", "history", "deployment/web", "--revision=1"))
        self.assertEqual(self.out("rollout", "undo", "deployment/web"), "deployment.apps/web rolled back\n")
        self.rolled_out()
        self.assertEqual(self.versions(), ["v1"] * 3)
        lines = self.out("rollout", "history", "deployment/web").splitlines()
        self.assertEqual([line.split()[0] for line in lines[2:] if line], ["2", "3"])
        self.k("rollout", "undo", "deployment/web", "--to-revision=2")
        self.rolled_out()
        self.assertEqual(self.versions(), ["v2"] * 3)

    def test_a_rolling_update_keeps_enough_pods(self):
        self.apply(deployment("web", 4, image=V1, spec={"strategy": {"rollingUpdate": {"maxUnavailable": 1,
                                                                                       "maxSurge": 1}}}))
        self.rolled_out()
        with self.c.stream("-n", self.ns, "get", "deployment", "web", "-w", "-o",
                           "jsonpath={.status.availableReplicas} {.status.replicas}{'\\n'}") as watch:
            watch.expect("^4 4$")
            self.k("set", "image", "deployment/web", f"main={V2}")
            self.rolled_out()
            seen = [tuple(map(int, (line or "0 0").split())) for line in watch.lines if re.fullmatch(r"\d+ \d+", line or "")]
        self.assertTrue(all(available >= 3 and total <= 5 for available, total in seen), seen)

    def test_pause_resume_and_restart(self):
        self.apply(deployment("web", 1, image=V1))
        self.rolled_out()
        self.assertEqual(self.out("rollout", "pause", "deployment/web"), "deployment.apps/web paused\n")
        self.k("set", "image", "deployment/web", f"main={V2}")
        generation = self.path("deployment/web", ".metadata.generation")
        self.until_path("deployment/web", ".status.observedGeneration", generation)
        self.assertEqual(len(self.out("get", "rs", "-o", "name").split()), 1)
        self.assertEqual(self.out("rollout", "resume", "deployment/web"), "deployment.apps/web resumed\n")
        self.rolled_out()
        self.assertEqual(self.versions(), ["v2"])
        self.assertEqual(self.out("rollout", "restart", "deployment/web"), "deployment.apps/web restarted\n")
        self.rolled_out()
        self.assertEqual(len(self.out("get", "rs", "-o", "name").split()), 3)

    def test_recreate(self):
        self.apply(deployment("web", 2, image=V1, spec={"strategy": {"type": "Recreate"}}))
        self.rolled_out()
        self.k("set", "image", "deployment/web", f"main={V2}")
        self.rolled_out()
        self.assertEqual(self.versions(), ["v2"] * 2)

    def test_scale_up_and_down(self):
        self.apply(deployment("web", 1))
        self.rolled_out()
        self.assertEqual(self.out("scale", "deployment/web", "--replicas=4"), "deployment.apps/web scaled\n")
        self.rolled_out()
        self.until_path("deployment/web", ".status.readyReplicas", 4)
        self.k("scale", "deployment/web", "--replicas=1")
        until(lambda: len(self.out("get", "pods", "-o", "name").split()) == 1, what="one pod")
        self.assertRegex(self.out("get", "deployment", "web"), r"(?m)^web +1/1 +1 +1 ")
        self.assertIn("Scaled up replica set", self.out("describe", "deployment", "web"))

    def test_a_rollout_that_cannot_go_on_is_reported(self):
        self.apply(deployment("web", 1, image=V1, spec={"progressDeadlineSeconds": 3}))
        self.rolled_out()
        self.k("patch", "deployment", "web", "-p", json.dumps({"spec": {"template": {"spec": {"containers": [
            {"name": "main", "image": BAD, "imagePullPolicy": "Never"}]}}}}))
        result = self.fails("rollout", "status", "deployment/web", "--timeout=120s", timeout=70)
        self.assertIn('deployment "web" exceeded its progress deadline', result.err)
        self.assertEqual(self.versions_of_ready(), ["v1"])

    def versions_of_ready(self):
        return [self.exec(p["metadata"]["name"], "cat", "/version").strip()
                for p in self.get("pods", "-l", "app=web")["items"]
                if any(s["ready"] for s in p["status"].get("containerStatuses", []))]


class Logs(Case):
    def test_logs(self):
        self.apply(pod("p", ["sh", "-c", "for i in 1 2 3 4 5; do echo out $i; done; echo err >&2; exec sleep 86400"]))
        self.k("wait", "pod/p", "--for=condition=Ready", "--timeout=120s")
        until(lambda: "err" in self.out("logs", "p"), what="the last line")
        self.assertEqual(sorted(self.out("logs", "p").splitlines()), ["err"] + [f"out {i}" for i in range(1, 6)])
        self.assertEqual(len(self.out("logs", "p", "--tail=2").splitlines()), 2)
        self.assertRegex(self.out("logs", "p", "--timestamps"), r"(?m)^\d{4}-\d\d-\d\dT[\d:.]+Z out 1$")
        self.assertEqual(self.out("logs", "p", "--since=1h"), self.out("logs", "p"))
        self.assertEqual(len(self.out("logs", "p", "--limit-bytes=5")), 5)
        self.assertIn("container nope is not valid for pod p", self.fails("logs", "p", "-c", "nope").err)

    def test_follow_until_the_end(self):
        self.apply(pod("p", ["sh", "-c", "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); sleep 0.2; done"],
                       restartPolicy="Never"))
        until(lambda: self.path("pod/p", ".status.phase") in ("Running", "Succeeded"), what="a start")
        with self.c.stream("-n", self.ns, "logs", "-f", "p") as logs:
            at = logs.expect("^line 0$")
            self.assertNotEqual(self.path("pod/p", ".status.phase"), "Failed")
            logs.expect("^line 19$", after=at)
            self.assertEqual(logs.wait_end(), 0)
            self.assertEqual([line for line in logs.lines if line is not None], [f"line {i}" for i in range(20)])

    def test_logs_of_the_previous_container(self):
        self.apply(pod("p", ["sh", "-c", "echo run; exit 1"], restartPolicy="OnFailure"))
        until(lambda: int(self.path("pod/p", ".status.containerStatuses[0].restartCount") or 0) >= 1, 120, "a restart")
        self.assertEqual(self.out("logs", "p", "--previous"), "run\n")

    def test_logs_of_several_pods(self):
        self.apply(deployment("web", 2, ["sh", "-c", "echo I am $(hostname); exec sleep 86400"]))
        self.k("rollout", "status", "deployment/web", "--timeout=120s")
        until(lambda: self.out("logs", "-l", "app=web", "--prefix").count("I am web-") == 2, what="two lines")
        self.assertIn("I am web-", self.out("logs", "deployment/web"))


class Exec(Case):
    def setUp(self):
        super().setUp()
        self.apply(pod("p"))
        self.k("wait", "pod/p", "--for=condition=Ready", "--timeout=120s")

    @WEBSOCKET
    def test_without_a_terminal(self):
        result = self.k("exec", "p", "--", "sh", "-c", "echo out; echo err >&2")
        self.assertEqual((result.out, result.err), ("out\n", "err\n"))
        self.assertEqual(self.out("exec", "p", "--", "hostname"), "p\n")
        self.assertEqual(self.out("exec", "-i", "p", "--", "sh", "-c", "tr a-z A-Z", input="hello\n"), "HELLO\n")
        result = self.fails("exec", "p", "--", "sh", "-c", "exit 7")
        self.assertEqual(result.code, 7)
        self.assertIn("command terminated with exit code 7", result.err)
        result = self.fails("exec", "p", "--", "no-such-program")
        self.assertIn("no-such-program", result.err)

    @WEBSOCKET
    def test_much_data_both_ways(self):
        data = "".join(f"{i:07d}\n" for i in range(250_000))
        self.assertEqual(self.out("exec", "-i", "p", "--", "cat", input=data, timeout=120), data)

    @WEBSOCKET
    def test_with_a_terminal(self):
        with self.c.terminal("-n", self.ns, "exec", "-it", "p", "--", "sh", rows=33, columns=101) as sh:
            sh.expect(r"# ")
            sh.send("tty\r")
            sh.expect(r"/dev/(pts/\d+|console)")
            sh.send("stty size\r")
            sh.expect(r"33 101")
            sh.send("echo $((20+3))\r")
            sh.expect(r"\r\n23\r\n")
            # It is the foreground process itself that says so: it will get the Ctrl-C, not the shell.
            sh.send("sh -c \"echo g''o; exec sleep 1000\"\r")
            sh.expect(r"\ngo")
            sh.send("\x03")
            sh.send("echo still $((40+2))\r")
            sh.expect(r"still 42")
            sh.send("exit 5\r")
            self.assertEqual(sh.wait_end(), 5)

    def test_a_refusal_says_why(self):
        self.apply(pod("nowhere", schedulerName="nobody"))
        self.assertIn("pod nowhere does not have a host assigned", self.fails("exec", "nowhere", "--", "true").err)
        self.assertIn("container nope is not valid for pod p", self.fails("exec", "p", "-c", "nope", "--", "true").err)
        self.assertIn('pods "none" not found', self.fails("exec", "none", "--", "true").err)

    def two_containers(self):
        body = pod("two", ["httpd", "-f", "-p", "8081"])
        body["spec"]["containers"].append({"name": "side", "image": "busybox", "command": STAY,
                                           "imagePullPolicy": "IfNotPresent"})
        self.apply(body)
        self.k("wait", "pod/two", "--for=condition=Ready", "--timeout=120s")

    def test_sharing_of_the_network(self):
        self.two_containers()
        text = self.exec("two", "sh", "-c", "wget -S -O - http://localhost:8081/nope 2>&1 || true", container="side")
        self.assertIn("404", text)

    @WEBSOCKET
    def test_the_first_container_is_meant(self):
        self.two_containers()
        self.assertIn("Defaulted container", self.k("exec", "two", "--", "true").err)


class Kubus(Case):
    """The commands on objects of `kubus` itself, for machines without kubectl."""

    def u(self, *args, **options):
        return self.c.kubus(args[0], "-n", self.ns, *args[1:], **options)

    def setUp(self):
        super().setUp()
        self.apply(deployment("web", 2, ["sh", "-c", "echo I am $(hostname); exec sleep 86400"]))
        self.k("rollout", "status", "deployment/web", "--timeout=120s")

    def test_get(self):
        self.k("create", "configmap", "c", "--from-literal=k=v")
        tables = self.u("get", "all").out.split("\n\n")
        self.assertRegex(tables[0], r"(?m)^pod/web-\S+ +1/1 +Running ")
        self.assertTrue(any(re.search(r"(?m)^deployment.apps/web +2/2 ", t) for t in tables), tables)
        self.assertEqual(self.u("get", "deployment/web", "cm/c", "-o", "name").out, "deployment.apps/web\nconfigmap/c\n")
        self.assertRegex(self.u("get", "deployments,cm", "-l", "app=web", "--show-labels", "--no-headers").out,
                         r"^deployment\.apps/web +2/2 +2 +2 +\S+ +app=web\n$")
        both = json.loads(self.u("get", "deploy/web", "cm/c", "-o", "json").out)
        self.assertEqual([o["kind"] for o in both["items"]], ["Deployment", "ConfigMap"])
        result = self.u("get", "nopes", check=False)
        self.assertEqual((result.code, result.err), (1, 'kubus get: the server doesn\'t have a resource type "nopes"\n'))
        self.u("delete", "deployment/web", "cm/c")
        self.assertEqual(self.u("get", "deployments,cm", "-l", "app=web", "-o", "name").out, "")
        self.assertIn("NotFound", self.fails("get", "cm", "c").err)

    def test_the_cluster_that_data_names_is_meant(self):
        other = {"KUBECONFIG": "/nothing/here"}
        name = self.u("get", "deploy/web", "-o", "name", "--data", self.c.data, env=other).out
        self.assertEqual(name, "deployment.apps/web\n")
        self.assertIn("/nothing/here", self.u("get", "deploy/web", env=other, check=False).err)
        result = self.c.kubus("down", "--data", "/nothing/here", check=False)
        self.assertEqual((result.code, result.err), (1, "kubus down: there is no cluster in /nothing/here\n"))

    def test_describe_with_a_selector(self):
        text = self.u("describe", "pods", "-l", "app=web").out
        self.assertEqual(len(re.findall(r"(?m)^kind: Pod$", text)), 2)
        self.assertEqual(text.count("Started container main"), 2)
        self.assertIn("No resources found", self.u("describe", "pods", "-l", "app=none").err)

    def test_logs_and_exec_of_a_deployment(self):
        until(lambda: self.u("logs", "deployment/web").out.startswith("I am web-"), what="a line")
        self.assertRegex(self.u("logs", "deployment/web").err, r"^Found 2 pods, using pod/web-\S+\n$")
        self.assertRegex(self.u("exec", "deploy/web", "--", "hostname").out, r"^web-\S+\n$")
        self.assertIn('deployments.apps "none" not found', self.u("logs", "deployment/none", check=False).err)
        result = self.u("exec", "none", "--", "true", check=False)
        self.assertEqual(result.err, 'kubus exec: Error from server (NotFound): pods "none" not found\n')
        self.assertEqual(self.u("exec", "deploy/web", "--", "sh", "-c", "exit 6", check=False).code, 6)


class Attach(Case):
    @WEBSOCKET
    def test_input_reaches_the_program_and_ends(self):
        script = "while read x; do echo got $x; echo no $x >&2; done; echo over"
        self.apply(pod("p", ["sh", "-c", script], restartPolicy="Never",
                       container={"stdin": True, "stdinOnce": True}))
        self.k("wait", "pod/p", "--for=condition=Ready", "--timeout=60s")
        result = self.k("attach", "-i", "p", input="one\ntwo\n")
        self.assertEqual(result.out, "got one\ngot two\nover\n")
        self.assertIn("no one\nno two\n", result.err)
        self.until_path("pod/p", ".status.phase", "Succeeded")
        self.assertIn("got two\n", self.out("logs", "p"))

    @WEBSOCKET
    def test_run_with_input_gives_its_output_and_removes_the_pod(self):
        result = self.k("run", "once", "-i", "--rm", "--image=busybox", "--image-pull-policy=IfNotPresent",
                        "--restart=Never", "--", "sh", "-c", "read x; echo got $x", input="hello\n")
        self.assertIn("got hello\n", result.out)
        self.assertIn('pod "once" deleted', result.out)

    @WEBSOCKET
    def test_output_alone_until_the_container_ends(self):
        self.apply(pod("p", ["sh", "-c", "until [ -e /tmp/end ]; do echo tick; sleep 0.1; done; echo last"],
                       restartPolicy="Never"))
        self.k("wait", "pod/p", "--for=condition=Ready", "--timeout=60s")
        with self.c.stream("-n", self.ns, "attach", "p") as watch:
            watch.expect(r"tick")
            self.exec("p", "touch", "/tmp/end")
            watch.expect(r"last")

    @WEBSOCKET
    def test_a_shell_on_a_terminal(self):
        with self.c.terminal("-n", self.ns, "run", "shell", "-it", "--image=busybox",
                             "--image-pull-policy=IfNotPresent", "--restart=Never", "--", "sh",
                             rows=33, columns=101) as sh:
            sh.expect(r"pressing enter")
            sh.send("\r")
            sh.expect(r"# ")
            sh.send("until [ \"$(stty size)\" = '33 101' ]; do sleep 0.1; done; echo siz''ed\r")
            sh.expect(r"\nsized")
            sh.send("exit 4\r")
            self.assertEqual(sh.wait_end(), 4)
        self.assertEqual(self.get("pod", "shell")["status"]["phase"], "Failed")


class Debug(Case):
    def state_of(self, name):
        statuses = self.get("pod", "p")["status"].get("ephemeralContainerStatuses", [])
        return next((s["state"] for s in statuses if s["name"] == name), {})

    @needs_kubectl(1, 27, "debug --profile")
    def test_a_container_is_put_into_a_running_pod_to_look_around(self):
        self.apply(pod("p", ["sleep", "1d"], terminationGracePeriodSeconds=1,
                       initContainers=[{"name": "before", "image": "busybox", "imagePullPolicy": "IfNotPresent",
                                        "command": ["true"]}]))
        self.k("wait", "--for=condition=Ready", "pod/p", "--timeout=60s")
        self.k("debug", "p", "--image=busybox", "--profile=general", "--target=main", "-c", "look", "--",
               "sh", "-c", "ps; exit 3")
        state = until(lambda: self.path("pod/p", ".status.ephemeralContainerStatuses[0].state.terminated.exitCode"),
                      60, "the end of what looks around")
        self.assertEqual(state, "3")
        self.assertRegex(self.out("logs", "p", "-c", "look"), r"(?m)^ +1 root +sleep 1d$")
        self.assertEqual(self.path("pod/p", ".status.containerStatuses[0].restartCount"), "0")
        result = self.fails("patch", "pod", "p", "--subresource=ephemeralcontainers", "--type=json", "-p",
                            '[{"op":"remove","path":"/spec/ephemeralContainers/0"}]')
        self.assertIn('existing ephemeral containers "look" may not be removed', result.err)
        self.k("debug", "p", "--image=busybox", "--profile=general", "-c", "cannot", "--", "nosuchcommand")
        until(lambda: self.state_of("cannot").get("terminated", {}).get("reason") == "StartError",
              60, "the end of what cannot be run")
        self.k("debug", "p", "--image=busybox", "--profile=general", "--target=before", "-c", "lost", "--", "true")
        until(lambda: self.state_of("lost").get("waiting", {}).get("reason") == "CreateContainerConfigError",
              60, "it is told that there is nothing to look at")
        self.assertEqual(self.state_of("lost")["waiting"]["message"], "unable to find target container before")
        self.k("delete", "pod", "p")


class Wait(Case):
    def test_wait(self):
        self.apply(deployment("web", 2), pod("never", schedulerName="nobody"))
        self.assertEqual(self.out("wait", "deployment/web", "--for=condition=Available", "--timeout=120s"),
                         "deployment.apps/web condition met\n")
        lines = self.out("wait", "pods", "-l", "app=web", "--for=condition=Ready", "--timeout=120s").splitlines()
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], r"^pod/web-\S+ condition met$")
        result = self.fails("wait", "pod/never", "--for=condition=Ready", "--timeout=1s")
        self.assertIn("timed out waiting for the condition on pods/never", result.err)
        with self.c.stream("-n", self.ns, "wait", "pod/never", "--for=delete", "--timeout=120s", "-v=6") as wait:
            wait.expect(r"GET.*/pods.* 200 OK")  # it has seen the pod: of one that is gone it says nothing
            self.k("delete", "pod", "never", "--wait=false")
            self.assertEqual(wait.wait_end(60), 0)
            self.assertIn("pod/never condition met", wait.lines)

    @needs_kubectl(1, 23, "wait --for=jsonpath")
    def test_wait_for_a_path(self):
        self.apply(pod("p", ["true"], restartPolicy="Never"))
        self.assertEqual(self.out("wait", "pod/p", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s"),
                         "pod/p condition met\n")


class Ends(Case):
    def test_deletion_is_graceful(self):
        self.apply(pod("p", ["sh", "-c", "trap 'echo bye; sleep 0.5; exit 0' TERM; echo up; while :; do sleep 0.1; done"],
                       terminationGracePeriodSeconds=60))
        self.k("wait", "pod/p", "--for=condition=Ready", "--timeout=120s")
        with self.c.stream("-n", self.ns, "logs", "-f", "p") as logs:
            logs.expect("^up$")
            start = time.monotonic()
            self.assertEqual(self.out("delete", "pod", "p"), 'pod "p" deleted\n')
            self.assertLess(time.monotonic() - start, 50)  # not the whole grace
            logs.expect("^bye$")

    def test_force(self):
        self.apply(pod("p", ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], terminationGracePeriodSeconds=300))
        self.k("wait", "pod/p", "--for=condition=Ready", "--timeout=120s")
        result = self.k("delete", "pod", "p", "--grace-period=0", "--force")
        self.assertEqual(result.out, 'pod "p" force deleted\n')
        self.assertIn("NotFound", self.fails("get", "pod", "p").err)


if __name__ == "__main__":
    main("workloads", images=images)
