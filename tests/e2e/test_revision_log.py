"""The checker finds what it is for: a checker that cannot fail proves nothing."""
import unittest

import revision_log as log


def put(key, rev, uid="u", **doc):
    return {"op": "put", "key": key, "rev": rev, "doc": {"metadata": {"uid": uid}, **doc}}


def gone(key, rev):
    return {"op": "del", "key": key, "rev": rev, "doc": {"metadata": {"uid": "u"}}}


def pod(name, rev, owner):
    owners = [{"uid": owner, "controller": True}]
    return {"op": "put", "key": f"pods/d/{name}", "rev": rev,
            "doc": {"metadata": {"uid": name, "ownerReferences": owners}}}


class Checker(unittest.TestCase):
    def test_a_sound_log_has_no_problems(self):
        changes = [put("a/b/c", 1), put("a/b/c", 2), gone("a/b/c", 3), put("a/b/c", 4, uid="v")]
        self.assertEqual(log.order(changes), [])
        self.assertEqual(log.acknowledged(changes, {("a/b/c", 2)}), [])

    def test_order_sees_revisions_that_fall_and_objects_replaced(self):
        self.assertTrue(log.order([put("a/b/c", 2), put("a/b/d", 1)]))
        self.assertTrue(log.order([put("a/b/c", 1), put("a/b/c", 2, uid="v")]))
        self.assertTrue(log.order([gone("a/b/c", 1)]))

    def test_missing_and_refused_writes_are_seen(self):
        self.assertTrue(log.acknowledged([put("a/b/c", 1)], {("a/b/c", 2)}))
        self.assertTrue(log.refused([put("a/b/c", 1)], {"a/b/c"}))

    def test_a_pod_that_moves_or_goes_back_is_seen(self):
        one, two = {"nodeName": "n1"}, {"nodeName": "n2"}
        self.assertTrue(log.bindings([put("pods/d/p", 1, spec=one), put("pods/d/p", 2, spec=two)]))
        ran, waits = {"phase": "Running"}, {"phase": "Pending"}
        self.assertTrue(log.phases([put("p", 1, status=ran), put("p", 2, status=waits)]))
        self.assertEqual(log.phases([put("p", 1, status=waits), put("p", 2, status=ran)]), [])

    def test_a_pod_too_many_is_seen(self):
        wanted = put("replicasets.apps/d/r", 1, uid="r", spec={"replicas": 1})
        self.assertTrue(log.replicas([pod("p", 2, "r"), pod("q", 3, "r")], [wanted]))
        self.assertEqual(log.replicas([pod("p", 2, "r")], [wanted]), [])

    def test_a_pod_that_was_on_its_way_when_the_number_fell_is_none_too_many(self):
        def asks(rev, generation, replicas, observed):
            change = put("replicasets.apps/d/r", rev, uid="r", spec={"replicas": replicas},
                         status={"observedGeneration": observed})
            change["doc"]["metadata"]["generation"] = generation
            return change
        pods = [pod("p", 5, "r")]
        self.assertEqual(log.replicas(pods, [asks(1, 1, 1, 0), asks(2, 2, 0, 0), asks(3, 2, 0, 1)]), [])
        self.assertTrue(log.replicas(pods, [asks(1, 1, 1, 0), asks(2, 2, 0, 0), asks(3, 2, 0, 2)]))


if __name__ == "__main__":
    unittest.main()
