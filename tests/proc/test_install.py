"""What `cmake --install` leaves is enough to build a plugin and to test it, outside of this tree."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build"))
STORY = r"""
#include <kubus/harness.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct kb_harness *h = kb_harness_new(1);
    kb_harness_load(h, argv[argc - 1]);
    kb_harness_apply(h, "apiVersion: v1\nkind: ConfigMap\n"
                        "metadata: {name: web, labels: {examples.kubus.dev/budget: 'true'}}\n"
                        "data: {selector: app=web, minAvailable: '1'}\n");
    kb_harness_settle(h);
    kb_str healthy = kb_val_str_at(kb_harness_get(h, "configmaps/default/web"), "data.currentHealthy");
    printf("%.*s healthy\n", (int)healthy.n, healthy.p);
    kb_harness_destroy(&h);
    return 0;
}
"""


class Install(unittest.TestCase):
    def setUp(self):
        self.prefix = pathlib.Path(tempfile.mkdtemp(prefix="kubus-install-"))
        self.addCleanup(shutil.rmtree, self.prefix)
        self.run_("cmake", "--install", BUILD, "--prefix", self.prefix)

    def run_(self, *argv):
        env = os.environ | {"PKG_CONFIG_PATH": ":".join(map(str, self.prefix.glob("lib*/**/pkgconfig")))} \
            if hasattr(self, "prefix") else os.environ
        done = subprocess.run([str(a) for a in argv], env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, f"{argv}\n{done.stdout}{done.stderr}")
        return done.stdout

    def flags(self, package, *which):
        return self.run_("pkg-config", *which, package).split()

    def test_a_plugin_and_its_story_build_and_run(self):
        shutil.copy(TOP / "plugins/examples/pdb_lite/pdb_lite.c", self.prefix)
        (self.prefix / "story.c").write_text(STORY)
        cc = os.environ.get("CC", "cc")
        common = [cc, "-std=c17", "-Wall", "-Wextra", "-Werror"]
        self.run_(*common, "-shared", "-fPIC", *self.flags("kubus", "--cflags"), self.prefix / "pdb_lite.c",
                  "-o", self.prefix / "pdb_lite.so")
        self.run_(*common, *self.flags("kubus-harness", "--cflags"), self.prefix / "story.c",
                  "-o", self.prefix / "story", *self.flags("kubus-harness", "--libs"))
        self.assertEqual(self.run_(self.prefix / "story", self.prefix / "pdb_lite.so"), "0 healthy\n")

    def test_the_installed_program_finds_its_parts(self):
        usage = subprocess.run([self.prefix / "bin" / "kubus", "actor", "controller"], capture_output=True, text=True)
        self.assertEqual(usage.returncode, 2)
        self.assertIn("usage: kubus actor controller", usage.stderr)
        self.assertTrue(list(self.prefix.glob("lib*/**/kubus/plugins/replicaset.so")))

    def test_a_policy_from_the_template_builds_and_passes_its_test(self):
        kubus = self.prefix / "bin" / "kubus"
        work = pathlib.Path(tempfile.mkdtemp(prefix="kubus-install-"))
        self.addCleanup(shutil.rmtree, work)
        subprocess.run([kubus, "policy", "new", "Mine"], cwd=work, check=True, capture_output=True)
        self.assertIn("passed", self.run_("make", "-C", work / "Mine", "test"))
        self.assertTrue(list(self.prefix.glob("lib*/**/kubus/policies/FGD.so")))


if __name__ == "__main__":
    unittest.main()
